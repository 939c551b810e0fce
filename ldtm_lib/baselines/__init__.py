"""Baselines: plain forecasts from the inputs of a network, and scores of both on the same rows."""
