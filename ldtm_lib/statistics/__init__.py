"""Tools to measure the part of a figure that luck would explain: intervals, tests and e-values, from plain arrays."""
