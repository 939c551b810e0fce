"""The data of the pages: functions from a connection to frames and dataclasses; no page and no torch is imported."""
