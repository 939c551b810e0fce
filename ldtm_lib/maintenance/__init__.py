"""Maintenance: retention, log files, disk, heartbeat, status."""
