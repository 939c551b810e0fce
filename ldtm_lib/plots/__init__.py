"""Figures as PNG bytes from plain numbers: no database, no network, no state; matplotlib stays in the charts."""
