select pg_advisory_xact_lock(hashtextextended('ldtm bars ' || current_schema(), 0));
