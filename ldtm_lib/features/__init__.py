"""Indicators and input windows: what a network reads and what it is asked for."""
