"""One module per asset."""
