"""Schedules, sensors and run requests."""
