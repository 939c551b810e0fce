-- Whoever chooses a network, reads its file and then puts on record what it said: files stay until the transaction ends.
select pg_advisory_xact_lock_shared(hashtextextended('ldtm files held ' || current_schema(), 0));
