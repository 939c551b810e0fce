select exists (
    select from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted and pid = pg_backend_pid()
        and database = (select oid from pg_database where datname = current_database())
        and classid = ((%(key)s::bigint >> 32) & 4294967295)::oid and objid = (%(key)s::bigint & 4294967295)::oid
);
