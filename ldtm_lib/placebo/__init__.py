"""Gate results of models that cannot know anything, and of made-up ones whose correct result is known."""
