"""The daily run: its backlog, attempts, deadlines and freshness."""
