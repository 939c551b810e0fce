"""Daily bars: where they come from, what makes them valid, and how every value ever seen is kept."""
