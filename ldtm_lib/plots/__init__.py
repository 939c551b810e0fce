"""Charts as PNG bytes from plain numbers: no database, no network, no state; only these modules import matplotlib."""
