select pg_advisory_xact_lock(hashtextextended('ldtm ' || current_schema() || ' ' || %(work)s, 0));
