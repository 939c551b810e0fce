"""One network per ticker: its shape, its training, its file, its forecasts."""
