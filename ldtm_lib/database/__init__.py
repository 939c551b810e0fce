"""PostgreSQL: the one store, how to reach it, and how its schema comes about."""
