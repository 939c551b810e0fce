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
    from unnest(array['statement_timeout', 'lock_timeout', 'transaction_timeout']) as name
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
-- forecast targets it: the actual of that forecast then stays NULL.
with given as (
    select * from unnest(%(sessions)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
        as g (session, opens_at, closes_at)
), cancelled as (
    delete from trading_session
    where opens_at > clock_timestamp()
      and session between (select min(session) from given) and (select max(session) from given)
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
