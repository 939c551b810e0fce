"""Maintenance: retention, disk space, Dagster's storage, heartbeat, status."""
