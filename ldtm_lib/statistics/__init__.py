"""Intervals, tests and e-values from plain arrays, which measure the part of a figure that luck explains."""
