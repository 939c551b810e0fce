-- name: is_held_here
select exists (
    select from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted and pid = pg_backend_pid()
        and database = (select oid from pg_database where datname = current_database())
        and classid = ((%(key)s::bigint >> 32) & 4294967295)::oid and objid = (%(key)s::bigint & 4294967295)::oid
);

-- name: lock
select pg_advisory_xact_lock(hashtextextended('ldtm gpu lease', 0));

-- name: try_lock
select pg_try_advisory_lock(%(key)s);

-- name: session_settings
-- The server notices within a minute that the holder's machine is gone, and never closes the connection for being idle.
select set_config('application_name', 'ldtm gpu lease', false),
       set_config('tcp_keepalives_idle', '30', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false),
       set_config('idle_session_timeout', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false),
       set_config('statement_timeout', '0', false),
       set_config('lock_timeout', '0', false);

-- name: held_keys
-- The given advisory lock keys that a connection of this database holds.
select key
from unnest(%(keys)s::bigint[]) as asked (key)
join pg_locks on locktype = 'advisory' and objsubid = 1 and granted
    and classid = ((key >> 32) & 4294967295)::oid and objid = (key & 4294967295)::oid
where database = (select oid from pg_database where datname = current_database());

-- name: try_grant
select pg_try_advisory_lock(%(key)s::integer, %(mib)s::integer);

-- name: grants
-- Advisory locks with two keys: the second key of a held lock is the memory in MiB that its holder may take.
select key, objid::bigint::integer as mib
from unnest(%(keys)s::integer[]) as asked (key)
join pg_locks on locktype = 'advisory' and objsubid = 2 and granted and classid = (key::bigint & 4294967295)::oid
where database = (select oid from pg_database where datname = current_database());

-- name: server_identity
-- The database whose advisory locks a connection takes: the cluster of PostgreSQL, and its database.
select (select system_identifier from pg_control_system()) || ' ' || (
    select oid from pg_database where datname = current_database()
);
