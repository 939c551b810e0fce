-- At once: a connection that is closed is missed by the server only a moment later.
select pg_advisory_unlock_all();
