-- The hash chain of the record. Triggers write an event with a hash for every forecast, fill, void, restatement,
-- promotion, retirement, entry into service and simulation, in the same transaction. Each daily run ends with a seal over the events since the previous
-- seal. docs/record-format.md describes the bytes.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create table ledger_event (
    event_id      bigint primary key check (event_id >= 0),
    event         text   not null check (event in ('forecast', 'fill', 'void', 'restatement', 'promotion', 'retirement',
                                                   'service', 'simulation')),
    ticker        text,
    run_date      date,
    simulation_id bigint not null default 0,
    horizon       horizon,
    vintage       timestamptz,
    checkpoint_id bigint,
    leaf          bytea  not null check (octet_length(leaf) = 32),
    constraint ledger_event_names_its_ticker check ((event = 'simulation') = (ticker is null))
);

create index ledger_event_by_forecast on ledger_event (ticker, run_date);

comment on table ledger_event is 'The hash chain: events numbered from 0 without gaps; leaf: SHA-256 of the event''s canonical bytes.';
comment on column ledger_event.vintage is 'recorded_at of the bar of a restatement.';

-- Only the triggers of this file write events. This prevents mistakes; the owner of the table can get around it, and
-- `ldtm audit verify` detects that.
create function ledger_event_is_not_written_by_hand() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() < 2 then
        raise exception 'events are written by triggers, not by hand'
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger ledger_event_is_not_written_by_hand before insert on ledger_event
for each statement execute function ledger_event_is_not_written_by_hand();
alter table ledger_event enable always trigger ledger_event_is_not_written_by_hand;
create trigger ledger_event_is_append_only before update or delete or truncate on ledger_event
for each statement execute function is_append_only();
alter table ledger_event enable always trigger ledger_event_is_append_only;

-- Events are numbered in commit order: every writer holds this lock until it commits. A BEFORE trigger for the
-- statement takes it, which fires before the row triggers that date the rows, so that no row is dated before a seal
-- that precedes it. On each table it must stay the first BEFORE trigger; PostgreSQL fires triggers of one kind in the
-- order of their names.
create function take_chain_lock() returns trigger language plpgsql set search_path from current as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('ldtm chain ' || current_schema(), 0));
    return null;
end $$;

create trigger chain_lock_is_taken before insert or update on snapshot
for each statement execute function take_chain_lock();
alter table snapshot enable always trigger chain_lock_is_taken;
create trigger chain_lock_is_taken before insert on voided_fill
for each statement execute function take_chain_lock();
alter table voided_fill enable always trigger chain_lock_is_taken;
create trigger chain_lock_is_taken before insert on restated_actual
for each statement execute function take_chain_lock();
alter table restated_actual enable always trigger chain_lock_is_taken;
create trigger chain_lock_is_taken before insert or update on checkpoint
for each statement execute function take_chain_lock();
alter table checkpoint enable always trigger chain_lock_is_taken;
create trigger chain_lock_is_taken before insert on service_entry
for each statement execute function take_chain_lock();
alter table service_entry enable always trigger chain_lock_is_taken;
create trigger chain_lock_is_taken before insert on simulation
for each statement execute function take_chain_lock();
alter table simulation enable always trigger chain_lock_is_taken;

-- The leaf of each kind of event: SHA-256 of a zero byte and the event's fields as record_send encodes them. Texts that
-- may contain more than ASCII are encoded as UTF-8 bytes, independent of the client encoding.
create function forecast_leaf(event_id bigint, f snapshot) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'forecast'::text, f.ticker, f.run_date, f.simulation_id, f.recorded_at, f.kind,
    f.next_day_session, f.next_monday_session, f.one_month_session, f.run_date_close,
    f.next_day_pred, f.next_monday_pred, f.one_month_pred, f.direction_pred, convert_to(f.abstained_reason, 'UTF8'),
    f.checkpoint_id, f.model_version, f.model_status, f.checkpoint_sha256, f.window_sha256, f.bars_recorded_until)));

create function fill_leaf(
    event_id bigint, ticker text, run_date date, simulation_id bigint, horizon text, target_session date,
    actual double precision,
    pct_error double precision, direction_actual text, direction_correct boolean, filled_at timestamptz)
returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'fill'::text, ticker, run_date, simulation_id, horizon, target_session, actual, pct_error, direction_actual,
    direction_correct, filled_at)));

create function void_leaf(event_id bigint, v voided_fill) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'void'::text, v.ticker, v.run_date, v.simulation_id, v.horizon::text, v.target_session, convert_to(v.reason, 'UTF8'),
    v.wait_sessions::bigint, v.voided_at)));

create function restatement_leaf(event_id bigint, r restated_actual) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'restatement'::text, r.ticker, r.run_date, r.simulation_id, r.horizon::text, r.target_session,
    r.bar_recorded_at, r.actual, r.restated_actual, r.detected_at)));

create function promotion_leaf(event_id bigint, c checkpoint) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'promotion'::text, c.ticker, c.checkpoint_id, c.version, c.trained_on, c.architecture_sha256,
    c.recipe_sha256, c.data_sha256, c.file_sha256, c.activated_at)));

create function retirement_leaf(event_id bigint, c checkpoint) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'retirement'::text, c.ticker, c.checkpoint_id, c.version, c.retired_at)));

create function service_leaf(event_id bigint, e service_entry) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'service'::text, e.ticker, e.first_session, e.verdict_id, e.entered_at)));

create function simulation_leaf(event_id bigint, s simulation) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'simulation'::text, null::text, s.simulation_id, s.started_at, convert_to(s.origin, 'UTF8'),
    s.first_session, s.last_session, s.retrain_every::bigint, s.settings_sha256, array_to_string(s.tickers, ','))));

-- A SECURITY DEFINER function must not run for a table of another owner, whose column types and casts could execute any
-- code. The execute privilege is revoked below as well.
create function require_own_table(used_on oid, own regclass) returns void language plpgsql as $$
begin
    if used_on <> own::oid then
        raise exception 'this function belongs to the table %', own using errcode = 'insufficient_privilege';
    end if;
end $$;

-- SECURITY DEFINER: the role that writes forecasts has no privilege to write events. Transition tables lose the row
-- type of their table, hence the casts. EXECUTE plans joins of them for each statement: a plan cached for one row takes
-- minutes for 100,000 rows.
create function forecasts_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'snapshot'::regclass);
    insert into ledger_event (event_id, event, ticker, run_date, simulation_id, leaf)
    select n.event_id, 'forecast', (n.row).ticker, (n.row).run_date, (n.row).simulation_id,
           forecast_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by simulation_id, run_date, ticker) - 1 as event_id, row(added.*)::snapshot as row
          from added) n;
    return null;
end $$;

create trigger forecasts_are_events after insert on snapshot
referencing new table as added for each statement execute function forecasts_are_events();
alter table snapshot enable always trigger forecasts_are_events;

create function fills_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'snapshot'::regclass);
    execute $query$
    insert into ledger_event (event_id, event, ticker, run_date, simulation_id, horizon, leaf)
    select event_id, 'fill', ticker, run_date, simulation_id, horizon,
           fill_leaf(event_id, ticker, run_date, simulation_id, horizon, target_session, actual, pct_error,
                     direction_actual, direction_correct, filled_at)
    from (select $1 + row_number() over (order by a.ticker, a.run_date, a.simulation_id, f.place) - 1 as event_id,
                 a.ticker, a.run_date, a.simulation_id, f.*
          from after_it a
          join before_it b on (b.ticker, b.run_date, b.simulation_id) = (a.ticker, a.run_date, a.simulation_id)
          cross join lateral fills_of(row(a.*)::snapshot) f
          where case f.place when 1 then b.next_day_actual when 2 then b.next_monday_actual else b.one_month_actual end
                is null) filled
    $query$ using next_id;
    if exists (select from after_it a
               join voided_fill v on (v.ticker, v.run_date, v.simulation_id) = (a.ticker, a.run_date, a.simulation_id)
               cross join lateral fills_of(row(a.*)::snapshot) f where f.horizon = v.horizon) then
        raise exception 'a fill that was voided meanwhile stays so' using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger fills_are_events after update on snapshot
referencing old table as before_it new table as after_it for each statement execute function fills_are_events();
alter table snapshot enable always trigger fills_are_events;

create function voids_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'voided_fill'::regclass);
    insert into ledger_event (event_id, event, ticker, run_date, simulation_id, horizon, leaf)
    select n.event_id, 'void', (n.row).ticker, (n.row).run_date, (n.row).simulation_id, (n.row).horizon,
           void_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by ticker, run_date, simulation_id, horizon) - 1 as event_id,
                 row(added.*)::voided_fill as row
          from added) n;
    return null;
end $$;

create trigger voids_are_events after insert on voided_fill
referencing new table as added for each statement execute function voids_are_events();
alter table voided_fill enable always trigger voids_are_events;

create function restatements_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'restated_actual'::regclass);
    insert into ledger_event (event_id, event, ticker, run_date, simulation_id, horizon, vintage, leaf)
    select n.event_id, 'restatement', (n.row).ticker, (n.row).run_date, (n.row).simulation_id, (n.row).horizon,
           (n.row).bar_recorded_at, restatement_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by ticker, run_date, simulation_id, horizon, bar_recorded_at) - 1
                 as event_id,
                 row(added.*)::restated_actual as row
          from added) n;
    return null;
end $$;

create trigger restatements_are_events after insert on restated_actual
referencing new table as added for each statement execute function restatements_are_events();
alter table restated_actual enable always trigger restatements_are_events;

create function promotions_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'checkpoint'::regclass);
    insert into ledger_event (event_id, event, ticker, checkpoint_id, leaf)
    select n.event_id, n.event, (n.row).ticker, (n.row).checkpoint_id,
           case n.event when 'promotion' then promotion_leaf(n.event_id, n.row) else retirement_leaf(n.event_id, n.row) end
    from (select next_id + row_number() over (order by e.event desc, a.ticker, a.checkpoint_id) - 1 as event_id,
                 e.event, row(a.*)::checkpoint as row
          from after_it a
          join before_it b on b.checkpoint_id = a.checkpoint_id and b.status <> a.status
          cross join lateral (values (case a.status when 'active' then 'promotion' else 'retirement' end)) e (event)) n;
    return null;
end $$;

create trigger promotions_are_events after update on checkpoint
referencing old table as before_it new table as after_it for each statement execute function promotions_are_events();
alter table checkpoint enable always trigger promotions_are_events;

create function models_that_arrive_active_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'checkpoint'::regclass);
    insert into ledger_event (event_id, event, ticker, checkpoint_id, leaf)
    select n.event_id, n.event, (n.row).ticker, (n.row).checkpoint_id,
           case n.event when 'promotion' then promotion_leaf(n.event_id, n.row) else retirement_leaf(n.event_id, n.row) end
    from (select next_id + row_number() over (order by a.checkpoint_id, e.event) - 1 as event_id,
                 e.event, row(a.*)::checkpoint as row
          from added a
          cross join lateral (
              select 'promotion' as event where a.status <> 'candidate'
              union all select 'retirement' where a.status = 'retired') e) n;
    return null;
end $$;

create trigger models_that_arrive_active_are_events after insert on checkpoint
referencing new table as added for each statement execute function models_that_arrive_active_are_events();
alter table checkpoint enable always trigger models_that_arrive_active_are_events;

create function service_entries_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'service_entry'::regclass);
    insert into ledger_event (event_id, event, ticker, leaf)
    select n.event_id, 'service', (n.row).ticker, service_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by ticker) - 1 as event_id, row(added.*)::service_entry as row
          from added) n;
    return null;
end $$;

create trigger service_entries_are_events after insert on service_entry
referencing new table as added for each statement execute function service_entries_are_events();
alter table service_entry enable always trigger service_entries_are_events;

create function simulations_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'simulation'::regclass);
    insert into ledger_event (event_id, event, simulation_id, leaf)
    select n.event_id, 'simulation', (n.row).simulation_id, simulation_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by simulation_id) - 1 as event_id, row(added.*)::simulation as row
          from added) n;
    return null;
end $$;

create trigger simulations_are_events after insert on simulation
referencing new table as added for each statement execute function simulations_are_events();
alter table simulation enable always trigger simulations_are_events;

revoke all on function forecasts_are_events(), fills_are_events(), voids_are_events(), restatements_are_events(),
    promotions_are_events(), models_that_arrive_active_are_events(), service_entries_are_events(),
    simulations_are_events() from public;

create table ledger_seal (
    seal_id         bigint      primary key check (seal_id >= 0),
    session         date        not null,
    first_event     bigint      not null,
    num_events      bigint      not null check (num_events > 0),
    merkle_root     bytea       not null check (octet_length(merkle_root) = 32),
    previous_sha256 bytea       not null check (octet_length(previous_sha256) = 32),
    sealed_at       timestamptz not null,
    sha256          bytea       not null check (octet_length(sha256) = 32)
);

comment on table ledger_seal is 'Seals: a Merkle root (RFC 6962) over the events since the previous seal, chained to it. session: the newest closed session.';

-- RFC 6962, section 2.1, level by level; an odd last node moves up unchanged.
create function merkle_root(leaves bytea[]) returns bytea language plpgsql immutable as $$
declare
    level bytea[] := leaves;
begin
    if coalesce(cardinality(level), 0) = 0 then
        return sha256(''::bytea);
    end if;
    while cardinality(level) > 1 loop
        select array_agg(node order by pair) into level
        from (select (place - 1) / 2 as pair,
                     case count(*) when 2 then sha256('\x01'::bytea || string_agg(hash, ''::bytea order by place))
                                   else string_agg(hash, ''::bytea) end as node
              from unnest(level) with ordinality as l (hash, place)
              group by (place - 1) / 2) nodes;
    end loop;
    return level[1];
end $$;

-- The database computes the whole row and ignores the values of the caller; without an event since the last seal, no
-- row is inserted.
create function ledger_seal_is_computed() returns trigger language plpgsql set search_path from current as $$
declare
    last ledger_seal;
    leaves bytea[];
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a seal is made in a read committed transaction: another one does not see the newest events'
            using errcode = 'integrity_constraint_violation';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('ldtm chain ' || current_schema(), 0));
    select * into last from ledger_seal order by seal_id desc limit 1;
    new.seal_id := coalesce(last.seal_id + 1, 0);
    new.first_event := coalesce(last.first_event + last.num_events, 0);
    new.previous_sha256 := coalesce(last.sha256, decode(repeat('00', 32), 'hex'));
    select array_agg(leaf order by event_id) into leaves from ledger_event where event_id >= new.first_event;
    if leaves is null then
        return null;
    end if;
    new.num_events := cardinality(leaves);
    new.merkle_root := merkle_root(leaves);
    new.sealed_at := clock_timestamp();
    new.session := (select max(session) from trading_session where closes_at <= new.sealed_at);
    new.sha256 := sha256(record_send(row(new.seal_id, new.session, new.first_event, new.num_events, new.merkle_root,
                                         new.previous_sha256, new.sealed_at)));
    return new;
end $$;

create trigger ledger_seal_is_computed before insert on ledger_seal
for each row execute function ledger_seal_is_computed();
alter table ledger_seal enable always trigger ledger_seal_is_computed;
create trigger ledger_seal_is_append_only before update or delete or truncate on ledger_seal
for each statement execute function is_append_only();
alter table ledger_seal enable always trigger ledger_seal_is_append_only;
