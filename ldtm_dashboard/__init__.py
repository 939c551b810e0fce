"""The dashboard: record, newest forecasts and state of operation as web pages. It reads and never writes."""
