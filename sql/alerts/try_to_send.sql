-- Held until the connection ends: a sender that is killed lets go of it.
select pg_try_advisory_lock(hashtextextended('ldtm alerts of ' || current_schema(), 0));
