select pg_advisory_xact_lock(hashtextextended('ldtm gpu lease', 0));
