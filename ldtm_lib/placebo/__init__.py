"""What the gate says of models that cannot know anything, and of made-up ones of which is known what must come out."""
