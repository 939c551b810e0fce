"""Daily bars from a web service that the configuration describes: one GET request per ticker, CSV or JSON."""
