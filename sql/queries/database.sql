-- name: last_closed_session
select max(session) from trading_session where closes_at <= clock_timestamp();

-- name: sessions
select session, opens_at, closes_at from trading_session order by session;

-- name: now
select clock_timestamp();

-- name: settings
select name, current_setting(name) from unnest(%(names)s::text[]) as name;

-- name: risky_settings
-- Settings of the server, the database or the role that a connection cannot or should not pin, and their effect.
select finding
from (
    select 1 as place, 'session_replication_role is ' || current_setting('session_replication_role')
                       || ', so ordinary triggers do not run' as finding
    where current_setting('session_replication_role') <> 'origin'
    union all
    select 2, 'the database is encoded in ' || current_setting('server_encoding') || ', not in UTF8'
    where current_setting('server_encoding') <> 'UTF8'
    union all
    select 3, name || ' is off, so a crash of the machine can damage or lose what is on record'
    from unnest(array['fsync', 'full_page_writes']) as name where current_setting(name) = 'off'
    union all
    select 4, 'synchronous_commit is off, so a crash can lose the newest rows of the record'
    where current_setting('synchronous_commit') = 'off'
    union all
    select 5, name || ' is ' || current_setting(name) || ', which ends longer work'
    from unnest(array['statement_timeout', 'transaction_timeout']) as name
    where coalesce(current_setting(name, true), '0') <> '0'
) risks
order by place, finding;

-- name: lock_schema
select pg_advisory_xact_lock(hashtextextended('ldtm schema ' || %(schema)s, 0));

-- name: create_migration_table
create table if not exists schema_migration (
    file_name  text        primary key,
    sha256     text        not null,
    applied_at timestamptz not null default clock_timestamp()
);

-- name: extend_calendar
-- Sessions that have opened are never changed. A future session that the exchange has cancelled is deleted, unless a
-- forecast targets it: the actual of that forecast then stays NULL. The newest session is kept until there is a newer one.
with given as (
    select * from unnest(%(sessions)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
        as g (session, opens_at, closes_at)
), cancelled as (
    delete from trading_session
    where opens_at > clock_timestamp()
      and session between (select min(session) from given) and (select max(session) from given)
      and session < (select max(session) from trading_session)
      and not exists (select from given where given.session = trading_session.session)
      and not exists (
          select from snapshot
          where trading_session.session in (run_date, next_day_session, next_monday_session, one_month_session))
)
insert into trading_session (session, opens_at, closes_at)
select given.session, given.opens_at, given.closes_at
from given left join trading_session known using (session)
where known.session is null
   or (known.opens_at > clock_timestamp()
       and (known.opens_at, known.closes_at) is distinct from (given.opens_at, given.closes_at))
on conflict (session) do update set opens_at = excluded.opens_at, closes_at = excluded.closes_at;

-- name: has_migration_table
-- Reads the system catalogue, which also lists tables that the connected role may not read.
select 1 from pg_class where relname = 'schema_migration' and relnamespace = to_regnamespace(quote_ident(%(schema)s));

-- name: applied_migrations
select file_name, sha256 from schema_migration;

-- name: record_migration
insert into schema_migration (file_name, sha256) values (%(name)s, %(sha256)s);

-- name: grant_writer_privileges
select grant_writer_privileges(%(role)s);

-- name: grant_storage_privileges
select grant_storage_privileges(%(schema)s, %(role)s);

-- name: grant_reader_privileges
select grant_reader_privileges(%(role)s);

-- name: grant_storage_reading
select grant_storage_reading(%(schema)s, %(role)s);

-- name: role_exists
select exists (select from pg_roles where rolname = %(role)s);

-- name: writing_privileges
-- Privileges of the connected role by which it could change something; no rows for a role that only reads, or that has no
-- privileges at all.
select privilege
from (
    select 1 as place, 'is a superuser' as privilege from pg_roles where rolname = current_user and rolsuper
    union all
    select 2, 'may write into ' || string_agg(c.relname, ', ' order by c.relname)
    from pg_class c, pg_roles r
    where r.rolname = current_user and not r.rolsuper
      and c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
      and (has_any_column_privilege(c.oid, 'insert, update') or has_table_privilege(c.oid, 'delete, truncate, trigger'))
    having count(*) > 0
    union all
    select 3, 'may create objects in the schema' from pg_roles
    where rolname = current_user and not rolsuper and has_schema_privilege(current_schema(), 'create')
) excess
order by place;

-- name: close_database
select close_database(%(schema)s);

-- name: is_open_to_public
-- True if any role of the server may connect, and the statements after which only roles with rights on the tables may.
-- Reads only the catalogue.
select has_database_privilege('public', current_database(), 'connect'),
       format('grant connect on database %%1$I to %%2$s; revoke connect on database %%1$I from public', current_database(),
              string_agg(distinct quote_ident(r.rolname), ', '))
from pg_class c
cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) given
join pg_roles r on r.oid = given.grantee
where c.relnamespace in (current_schema()::regnamespace, to_regnamespace(quote_ident(%(schema)s)));

-- name: storage_privileges
-- Privileges by which the connected role could put code of its own into Dagster's storage.
select privilege
from (
    select 1 as place, 'may create objects in the schema of Dagster''s storage' as privilege
    from pg_namespace where nspname = %(schema)s and has_schema_privilege(oid, 'create')
    union all
    select 2, 'may put triggers on tables of Dagster''s storage'
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %(schema)s and c.relkind in ('r', 'p') and has_table_privilege(c.oid, 'trigger') having count(*) > 0
) excess
where not (select rolsuper from pg_roles where rolname = current_user)
  and not pg_has_role(current_user, (select nspowner from pg_namespace where nspname = %(schema)s), 'member')
order by place;

-- name: lock_holders
-- The connection that most likely holds the lock that a statement could not get: an advisory lock of LDTM, or a table
-- lock that is stronger than those for reading and writing rows; otherwise a lock on rows that a transaction has changed.
-- Of several, the one whose transaction began first.
with known as (
    select name, hashtextextended(name, 0) as key
    from unnest(array['ldtm chain ' || current_schema(), 'ldtm bars ' || current_schema(),
                      'ldtm promotion ' || current_schema(), 'ldtm files held ' || current_schema(),
                      'ldtm candidate files ' || current_schema(), 'ldtm schema ' || current_schema(),
                      'ldtm ' || current_schema() || ' fillbacks', 'ldtm gpu lease']) as name
)
select coalesce('the advisory lock ' || known.name, 'the table ' || l.relation::regclass, 'rows that its transaction has changed') as lock,
       l.pid, coalesce(nullif(a.application_name, ''), 'without a name') as application, coalesce(a.usename, '') as role
from pg_locks l
join pg_stat_activity a using (pid)
left join known on l.locktype = 'advisory' and l.objsubid = 1
    and known.key = (l.classid::bigint << 32) | l.objid::bigint
left join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p')
    and c.relnamespace = current_schema()::regnamespace
where l.granted and l.pid <> all(%(own)s::integer[])
  and (l.database is null or l.database = (select oid from pg_database where datname = current_database()))
  and (known.name is not null
       or (c.oid is not null and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
       or l.locktype = 'transactionid')
order by l.locktype = 'transactionid', a.xact_start nulls last, l.pid
limit 1;

-- name: excess_privileges
-- Privileges by which the connected role could get around the rules of the record, the strongest first; no rows for a
-- role with writer privileges only.
with role as (select rolsuper from pg_roles where rolname = current_user),
     chained as (
         select c.oid, c.relname, c.relowner
         from unnest(array['snapshot', 'ledger_event', 'ledger_seal', 'voided_fill', 'restated_actual', 'checkpoint', 'bar',
                           'backtest', 'backtest_fold', 'backtest_prediction', 'gate_verdict', 'lifecycle_action',
                           'shadow_forecast', 'service_entry', 'simulation', 'simulation_model', 'fitted_baselines',
                           'backtest_score', 'baseline_forecast']) as t (name)
         join pg_class c on c.relname = t.name and c.relnamespace = current_schema()::regnamespace)
select privilege
from (
    select 1 as place, 'is a superuser' as privilege from role where rolsuper
    union all
    select 2, 'owns ' || string_agg(relname, ', ' order by relname) || ', and so can switch their triggers off'
    from chained, role where not rolsuper and pg_has_role(current_user, relowner, 'member') having count(*) > 0
    union all
    select 3, 'may delete from, truncate or put triggers on ' || string_agg(relname, ', ' order by relname)
    from chained, role
    where not rolsuper and not pg_has_role(current_user, relowner, 'member')
      and has_table_privilege(current_user, oid, 'delete, truncate, trigger') having count(*) > 0
    union all
    select 4, 'may write into ledger_event' from chained, role
    where relname = 'ledger_event' and not rolsuper and not pg_has_role(current_user, relowner, 'member')
      and has_table_privilege(current_user, oid, 'insert, update')
    union all
    select 5, 'may change every column of snapshot' from chained, role
    where relname = 'snapshot' and not rolsuper and not pg_has_role(current_user, relowner, 'member')
      and has_column_privilege(current_user, oid, 'next_day_pred', 'update')
    union all
    select 6, 'may create objects in the schema' from role
    where not rolsuper and has_schema_privilege(current_user, current_schema(), 'create')
      and not exists (select from chained where pg_has_role(current_user, relowner, 'member'))
) excess
order by place;

-- name: missing_privileges
-- Privileges that LDTM needs and the connected role lacks, by privilege.
with needed as (
    select c.oid, c.relname, 'select' as privilege, null::name as part
    from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'v')
    union all
    select c.oid, c.relname, r.privilege, part.name
    from writer_privileges() r
    join pg_class c on c.relname = r.relation and c.relnamespace = current_schema()::regnamespace
    cross join lateral unnest(coalesce(r.columns, array[null::name])) part (name)
)
select format('may not %s %s', case privilege when 'select' then 'read' when 'insert' then 'add to'
                                              when 'update' then 'write into' else 'delete from' end,
              string_agg(distinct relname, ', ' order by relname))
from needed
where not case when part is null then has_table_privilege(current_user, oid, privilege)
               else has_column_privilege(current_user, oid, part, privilege) end
group by privilege
order by array_position(array['select', 'insert', 'update', 'delete'], privilege);

-- name: schema_exists
select to_regnamespace(quote_ident(%(schema)s)) is not null;

-- name: lock
select pg_advisory_xact_lock(hashtextextended('ldtm ' || current_schema() || ' ' || %(work)s, 0));

-- name: has_installation
select to_regclass('installation') is not null;

-- name: installation
select installation_id from installation;
