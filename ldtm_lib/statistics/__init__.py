"""How much of a figure luck would explain: intervals, tests and e-values, from plain arrays."""
