-- Whoever marks files as removed waits for those who hold them.
select pg_advisory_xact_lock(hashtextextended('ldtm files held ' || current_schema(), 0));
