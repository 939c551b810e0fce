"""Which networks exist, what the gate said about each, and which one of a ticker may speak."""
