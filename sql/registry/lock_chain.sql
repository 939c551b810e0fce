-- The lock that every writer of forecasts holds until its commit.
select pg_advisory_xact_lock(hashtextextended('ldtm chain ' || current_schema(), 0));
