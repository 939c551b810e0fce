select pg_advisory_xact_lock(hashtextextended('ldtm schema ' || %(schema)s, 0));
