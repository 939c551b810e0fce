select pg_try_advisory_lock(hashtextextended('ldtm retention ' || current_schema(), 0));
