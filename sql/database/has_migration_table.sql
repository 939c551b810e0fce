-- From the catalogue, which also names tables that the connected role has no right to read.
select 1 from pg_class where relname = 'schema_migration' and relnamespace = to_regnamespace(quote_ident(%(schema)s));
