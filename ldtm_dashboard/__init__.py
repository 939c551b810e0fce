"""The dashboard: the record, tonight's forecasts and the state of operation as web pages. It reads and never writes."""
