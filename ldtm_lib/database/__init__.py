"""PostgreSQL, the only store: connections, migrations of the schema, privileges and named statements."""
