select 1 from information_schema.tables where table_schema = %(schema)s and table_name = 'schema_migration';
