"""Alerts from Dagster events and health checks."""
