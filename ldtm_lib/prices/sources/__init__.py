"""Sources of bars: one protocol, one file a source."""
