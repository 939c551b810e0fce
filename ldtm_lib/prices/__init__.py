"""Daily bars: sources, validation, price basis, and the store that keeps every vintage."""
