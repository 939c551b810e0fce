"""Training of many networks at once on a GPU."""
