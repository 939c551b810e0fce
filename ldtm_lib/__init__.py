"""Forecasts of daily stock prices and the record that holds them to account."""
