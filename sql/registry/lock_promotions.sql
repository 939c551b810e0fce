select pg_advisory_xact_lock(hashtextextended('ldtm promotion ' || current_schema(), 0));
