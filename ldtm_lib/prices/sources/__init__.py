"""Where bars come from: one protocol, one file a source."""
