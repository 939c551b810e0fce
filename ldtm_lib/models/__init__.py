"""One network per ticker: its architecture, its training, its file and its forecasts."""
