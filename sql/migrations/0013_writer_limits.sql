-- Limits of the writer role: names of checkpoint files, sessions, moments of bars, Dagster's schema, connections.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The file of a checkpoint stands in the folder of checkpoints, that of a candidate below `candidates` in it. A training
-- reads and writes these files with the rights of its user.
create function is_checkpoint_file(status text, file_name text) returns boolean immutable
    return file_name ~ '^(candidates/)?[A-Za-z0-9_%-][A-Za-z0-9_%.-]*\.pt$'
       and (status = 'candidate' or file_name not like '%/%');

do $$
declare
    refused record;
begin
    select checkpoint_id, ticker, file_name into refused
    from checkpoint where not is_checkpoint_file(status, file_name) order by checkpoint_id limit 1;
    if refused.checkpoint_id is not null then
        raise exception 'checkpoint % of % names the file %, which no training of LDTM has written: find out who put it on record, correct file_name as the owner of the table, and migrate again',
            refused.checkpoint_id, refused.ticker, quote_literal(refused.file_name)
            using errcode = 'integrity_constraint_violation';
    end if;
end $$;

alter table checkpoint add constraint checkpoint_file_is_in_its_folder
    check (is_checkpoint_file(status, file_name)) not valid;
alter table checkpoint validate constraint checkpoint_file_is_in_its_folder;

-- The file of a checkpoint changes once, from that of the candidate to that of its version.
create function checkpoint_file_is_named_once() returns trigger language plpgsql as $$
begin
    raise exception 'the file of checkpoint % of % is named by its training and by its promotion, and by nothing else',
        old.checkpoint_id, old.ticker using errcode = 'integrity_constraint_violation';
end $$;

create trigger checkpoint_file_is_named_once before update of file_name on checkpoint
for each row when (new.file_name is distinct from old.file_name and old.status = 'candidate' and new.status = 'candidate')
execute function checkpoint_file_is_named_once();
alter table checkpoint enable always trigger checkpoint_file_is_named_once;

-- The past of the calendar is final: whether a forecast is live depends on the session that opened after its run date. A
-- session is moved or removed before it opens, to a later moment.
create or replace function trading_session_has_opened() returns trigger language plpgsql as $$
begin
    if old.opens_at <= clock_timestamp() then
        raise exception 'session % has opened and cannot be changed or removed', old.session
            using errcode = 'integrity_constraint_violation';
    elsif tg_op = 'UPDATE' and (new.opens_at <= clock_timestamp() or new.session <> old.session) then
        raise exception 'session % cannot be moved to %, which has passed or is another day', old.session, new.opens_at
            using errcode = 'integrity_constraint_violation';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end $$;

-- The newest session stays, so that nobody makes room behind the calendar by removing what is ahead. These functions name
-- their table by its number: the calendar of a schema that was renamed is extended as well.
create function newest_trading_session_stays() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    newest date;
begin
    execute format('select max(session) from %s', tg_relid::regclass) into newest;
    if old.session = newest then
        raise exception 'session % is the newest one of the calendar and cannot be removed', old.session
            using errcode = 'integrity_constraint_violation';
    end if;
    return old;
end $$;

create trigger newest_trading_session_stays before delete on trading_session
for each row execute function newest_trading_session_stays();
alter table trading_session enable always trigger newest_trading_session_stays;

-- A session that has opened is added only behind all others: to an empty calendar, or to one that has ended meanwhile.
create function trading_session_is_added_before_its_open() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    newest date;
    refused record;
begin
    execute format('select max(session) from %s where session not in (select session from added)', tg_relid::regclass)
        into newest;
    select session, opens_at into refused from added
    where opens_at <= clock_timestamp() and session < newest order by session limit 1;
    if refused.session is not null then
        raise exception 'session % opened at % and cannot be added any more: the calendar goes on to %',
            refused.session, refused.opens_at, newest using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger trading_session_is_added_before_its_open after insert on trading_session
referencing new table as added for each statement execute function trading_session_is_added_before_its_open();
alter table trading_session enable always trigger trading_session_is_added_before_its_open;

-- Checked at commit as well: a transaction that is held open cannot put a change off until a session has opened.
create function trading_session_opened_meanwhile() returns trigger language plpgsql as $$
declare
    changed date := case tg_op when 'DELETE' then old.session else new.session end;
    opens_at timestamptz := case tg_op when 'INSERT' then new.opens_at when 'DELETE' then old.opens_at
                                       else least(old.opens_at, new.opens_at) end;
begin
    if opens_at > transaction_timestamp() and opens_at <= clock_timestamp() then
        raise exception 'session % opened at % while a transaction was changing it; try again', changed, opens_at
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create constraint trigger trading_session_opened_meanwhile after insert or update or delete on trading_session
deferrable initially deferred for each row execute function trading_session_opened_meanwhile();
alter table trading_session enable always trigger trading_session_opened_meanwhile;

-- A bar or split is recorded as its statement ends. All rows of a delivery share one moment, which its transaction reads
-- from this clock before it sends them: they may be as much older as sending them takes, 10 s and 100 us a row. A later
-- moment is only that directly after a stored vintage: the clock was set back, and the newest vintage must be the latest.
create function is_recorded_now(oldest timestamptz, newest timestamptz, num_rows bigint) returns boolean
language plpgsql set search_path from current as $$
begin
    return oldest >= transaction_timestamp()
       and oldest >= clock_timestamp() - interval '10 seconds' - num_rows * interval '100 microseconds'
       and (newest <= clock_timestamp()
            or (oldest = newest and newest < 'infinity'
                and exists (select from bar where recorded_at = newest - interval '1 microsecond')));
end $$;

create or replace function recorded_now() returns trigger language plpgsql set search_path from current as $$
begin
    if not (select count(*) = 0 or is_recorded_now(min(recorded_at), max(recorded_at), count(*)) from added) then
        raise exception 'rows of % are dated by the moment they are recorded at', tg_table_name
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create or replace function split_is_recorded_now() returns trigger language plpgsql set search_path from current as $$
declare
    newest date := (select max(session) from trading_session where closes_at <= clock_timestamp());
    refused record;
begin
    select ticker, session into refused from added where session > newest order by session, ticker limit 1;
    if refused.ticker is not null then
        raise exception 'the split of % on % lies ahead: session % is the newest that has closed', refused.ticker,
            refused.session, newest using errcode = 'integrity_constraint_violation';
    end if;
    if exists (select from added
               where not is_recorded_now(recorded_at, recorded_at, (select count(*) from added))
                 and recorded_at is distinct from (select min(bar.recorded_at) from bar where bar.ticker = added.ticker)) then
        raise exception 'rows of % are dated by the moment they are recorded at, or by the first bar of their ticker',
            tg_table_name using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

-- The writer role names no moment of a refused bar when it adds one, and none of its own when it changes one.
create function quarantined_bar_is_dated_by_the_database() returns trigger language plpgsql as $$
begin
    if new.last_seen_at is distinct from old.last_seen_at then
        new.last_seen_at := clock_timestamp();
    end if;
    if new.resolved_at is distinct from old.resolved_at and new.resolved_at is not null then
        new.resolved_at := clock_timestamp();
    end if;
    return new;
end $$;

create trigger quarantined_bar_is_dated_by_the_database before update on quarantined_bar
for each row execute function quarantined_bar_is_dated_by_the_database();
alter table quarantined_bar enable always trigger quarantined_bar_is_dated_by_the_database;

create or replace function writer_privileges() returns table (relation name, privilege text, columns name[])
language sql immutable as $$
    select unnest(array[
        'bar', 'split', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'lifecycle_action', 'service_entry', 'simulation',
        'simulation_model', 'snapshot', 'shadow_forecast', 'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session',
        'daily_attempt', 'notification', 'notification_delivery', 'alert',
        'fitted_baselines', 'backtest_score', 'baseline_forecast'
    ])::name, 'insert', null::name[]
    union all
    select unnest(array[
        'daily_attempt', 'notification', 'notification_delivery', 'alert', 'quarantined_bar', 'trading_session'
    ])::name, 'delete', null::name[]
    union all
    select unnest(array['daily_attempt', 'notification_delivery', 'alert'])::name, 'update', null::name[]
    union all values
    ('quarantined_bar'::name, 'insert', array['ticker', 'session', 'reason', 'bar', 'source']::name[]),
    ('quarantined_bar', 'update', array['last_seen_at', 'resolved_at']),
    ('training_failure', 'update', array['reason', 'failed_at']),
    ('checkpoint', 'update',
     array['status', 'file_name', 'major', 'version', 'activated_at', 'retired_at', 'file_removed_at']),
    ('snapshot', 'update', array['next_day_actual', 'next_monday_actual', 'one_month_actual']),
    ('trading_session', 'update', array['opens_at', 'closes_at'])
$$;

-- Takes what a role has beyond the privileges, and grants these.
create or replace function grant_writer_privileges(writer name) returns void language plpgsql set search_path from current as $$
declare
    needed record;
begin
    execute format('revoke all on all tables in schema %I from %I', current_schema(), writer);
    execute format('revoke create on schema %I from %I', current_schema(), writer);
    execute format('grant usage on schema %I to %I', current_schema(), writer);
    execute format('grant select on all tables in schema %I to %I', current_schema(), writer);
    execute format('grant usage on all sequences in schema %I to %I', current_schema(), writer);
    for needed in
        select relation, privilege,
               (select '(' || string_agg(quote_ident(name), ', ') || ')' from unnest(columns) name) as part
        from writer_privileges()
    loop
        execute format('grant %s %s on %I to %I', needed.privilege, needed.part, needed.relation, writer);
    end loop;
end $$;

select renew_writer_privileges();

-- Code in the schema of Dagster's storage that runs as whoever uses the storage and that belongs to another role than the
-- schema: functions, operators, and triggers, rules and policies of its tables. Dagster and LDTM create none. Reads the
-- catalogue alone.
create function foreign_code(work_schema name) returns setof text language sql stable set search_path = pg_catalog, pg_temp as $$
    with place as (select oid, nspowner from pg_namespace where nspname = work_schema)
    select 'function ' || p.oid::regprocedure
    from pg_proc p join place on p.pronamespace = place.oid and p.proowner <> place.nspowner
    union all
    select 'operator ' || o.oid::regoperator
    from pg_operator o join place on o.oprnamespace = place.oid and o.oprowner <> place.nspowner
    union all
    select 'view ' || c.oid::regclass
    from pg_class c join place on c.relnamespace = place.oid and c.relkind in ('v', 'm', 'f') and c.relowner <> place.nspowner
    union all
    select format('trigger %I on %s', t.tgname, c.oid::regclass)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join place on c.relnamespace = place.oid
    join pg_proc p on p.oid = t.tgfoid
    where not t.tgisinternal and p.proowner <> place.nspowner
    union all
    select format('rule %I on %s', r.rulename, c.oid::regclass)
    from pg_rewrite r join pg_class c on c.oid = r.ev_class and c.relkind in ('r', 'p') join place on c.relnamespace = place.oid
    union all
    select format('policy %I on %s', y.polname, c.oid::regclass)
    from pg_policy y join pg_class c on c.oid = y.polrelid join place on c.relnamespace = place.oid
    order by 1
$$;

create function require_own_code(work_schema name) returns void language plpgsql stable set search_path from current as $$
declare
    found text := (select string_agg(f, ', ') from foreign_code(work_schema) f);
begin
    if found is not null then
        raise exception 'schema % of Dagster''s storage has %, which neither Dagster nor LDTM creates, and which would run as whoever uses the storage; find out who made it, drop it as its owner, and try again',
            work_schema, found using errcode = 'integrity_constraint_violation';
    end if;
end $$;

-- Grants a role the use of Dagster's storage, whose tables belong to the owner of the schema: the role creates nothing
-- there and puts no trigger on a table, which would run as whoever writes next.
create or replace function grant_storage_privileges(work_schema name, worker name) returns void
language plpgsql set search_path from current as $$
declare
    storage record;
begin
    perform require_own_code(work_schema);
    for storage in
        select c.oid::regclass as relation, pg_get_userbyid(n.nspowner) as owner,
               case c.relkind when 'S' then 'sequence' else 'table' end as kind
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = work_schema and c.relkind in ('r', 'p', 'S') and c.relowner <> n.nspowner
          -- A sequence of a column follows its table.
          and not exists (select from pg_depend d
                          where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
                            and d.refclassid = 'pg_class'::regclass)
    loop
        execute format('alter %s %s owner to %I', storage.kind, storage.relation, storage.owner);
    end loop;
    execute format('revoke all on schema %I from %I', work_schema, worker);
    execute format('revoke all on all tables in schema %I from %I', work_schema, worker);
    execute format('revoke all on all sequences in schema %I from %I', work_schema, worker);
    execute format('alter default privileges in schema %I revoke all on tables from %I', work_schema, worker);
    execute format('alter default privileges in schema %I revoke all on sequences from %I', work_schema, worker);
    execute format('grant usage on schema %I to %I', work_schema, worker);
    execute format('grant select, insert, update, delete on all tables in schema %I to %I', work_schema, worker);
    execute format('grant usage, select on all sequences in schema %I to %I', work_schema, worker);
    execute format('alter default privileges in schema %I grant select, insert, update, delete on tables to %I', work_schema, worker);
    execute format('alter default privileges in schema %I grant usage, select on sequences to %I', work_schema, worker);
end $$;

-- Storages of this server were granted with more than that: the privileges are taken at once, also where `ldtm db grant`
-- is not called again. Their tables are told by a table that LDTM put beside them, which is not read.
do $$
declare
    storage record;
    relation regclass;
begin
    for storage in
        select distinct n.nspname, r.rolname
        from pg_namespace n
        join pg_class c on c.relnamespace = n.oid and c.relname = 'ldtm_owner'
        cross join lateral aclexplode(n.nspacl) given
        join pg_roles r on r.oid = given.grantee and given.privilege_type = 'CREATE' and r.oid <> n.nspowner
        where pg_has_role(current_user, n.nspowner, 'usage')
          and has_table_privilege(r.oid, 'snapshot', 'insert') and not r.rolsuper
    loop
        perform require_own_code(storage.nspname);
        execute format('revoke create on schema %I from %I', storage.nspname, storage.rolname);
        for relation in
            select oid::regclass from pg_class
            where relnamespace = (select oid from pg_namespace where nspname = storage.nspname) and relkind in ('r', 'p')
              and pg_get_userbyid(relowner) <> storage.rolname and pg_has_role(current_user, relowner, 'usage')
        loop
            execute format('revoke trigger, truncate, references on %s from %I', relation, storage.rolname);
        end loop;
    end loop;
end $$;

-- Whoever may connect can take an advisory lock of any number. Connections are for the roles with rights on the schemas of
-- an installation, where the database holds nothing else and this role may say so; returns whether they are.
create function close_database(work_schema name) returns boolean language plpgsql set search_path from current as $$
declare
    is_open boolean := has_database_privilege('public', current_database(), 'connect');
    keeper name;
begin
    if not (select pg_has_role(current_user, datdba, 'usage') from pg_database where datname = current_database())
       or (is_open
           and exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                       where n.nspname not in (current_schema(), work_schema, 'information_schema')
                         and n.nspname !~ '^pg_')) then
        return not is_open;
    end if;
    for keeper in
        select distinct r.rolname
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace and n.nspname in (current_schema(), work_schema)
        cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) given
        join pg_roles r on r.oid = given.grantee
    loop
        execute format('grant connect on database %I to %I', current_database(), keeper);
    end loop;
    execute format('revoke connect on database %I from public', current_database());
    return true;
end $$;

revoke all on function close_database(name), require_own_code(name), foreign_code(name) from public;
