"""Gate results of placebo models, which cannot know anything, and of canaries, whose correct result is known."""
