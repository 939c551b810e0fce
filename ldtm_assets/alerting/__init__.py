"""Alerts from Dagster's events and health checks, and the sensor that delivers notifications."""
