"""Indicators and input windows: the inputs of a network and its targets."""
