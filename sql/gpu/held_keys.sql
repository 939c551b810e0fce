-- Of some keys of advisory locks those that a session of this database holds.
select key
from unnest(%(keys)s::bigint[]) as wanted (key)
join pg_locks on locktype = 'advisory' and objsubid = 1 and granted
    and classid = ((key >> 32) & 4294967295)::oid and objid = (key & 4294967295)::oid
where database = (select oid from pg_database where datname = current_database());
