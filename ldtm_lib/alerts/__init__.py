"""Alerts, the notifications composed of them, and their delivery to people."""
