insert into ldtm_owner (schema) values (%(schema)s) on conflict (only_one) do update set schema = excluded.schema;
