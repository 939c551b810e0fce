-- Whoever writes candidates' files and then their rows waits for whoever removes files, and the other way round.
select pg_advisory_xact_lock(hashtextextended('ldtm candidate files ' || current_schema(), 0));
