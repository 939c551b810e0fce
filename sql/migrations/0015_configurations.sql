-- The universe and the settings that models, verdicts and forecasts depend on become part of the chain, with the identity
-- of the installation: one event at first and one at every change. So do the verdicts of the gate and lifecycle actions.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create table configuration (
    configuration_id bigint      primary key check (configuration_id > 0),
    installation_id  uuid        not null,
    tickers          text[]      not null check (cardinality(tickers) > 0),
    retired          jsonb       not null check (jsonb_typeof(retired) = 'object'),
    settings         text        not null,
    settings_sha256  text        not null,
    recorded_at      timestamptz not null
);

comment on table configuration is 'The universe and the settings that shape a forecast, as they were first used; one row for every change.';
comment on column configuration.retired is 'By ticker, the first session on which it no longer belongs to the universe.';
comment on column configuration.settings is 'JSON: the sections of the configuration file that models, verdicts and forecasts depend on.';

alter table ledger_event
    add column subject_id bigint,
    drop constraint ledger_event_event_check,
    drop constraint ledger_event_names_its_ticker,
    add constraint ledger_event_event_check check (event in (
        'forecast', 'fill', 'void', 'restatement', 'promotion', 'retirement', 'service', 'simulation', 'configuration',
        'verdict', 'lifecycle')),
    add constraint ledger_event_names_its_ticker
        check ((event in ('simulation', 'configuration')) = (ticker is null)),
    add constraint ledger_event_names_its_subject
        check ((event in ('configuration', 'verdict', 'lifecycle')) = (subject_id is not null));

comment on column ledger_event.subject_id is 'configuration_id, verdict_id or action_id.';

-- The database numbers and dates a configuration and hashes its settings. One that equals the newest is not added. A ticker
-- in service stays in the list: it leaves with a date under [retired].
create function configuration_is_a_change() returns trigger language plpgsql set search_path from current as $$
declare
    newest configuration;
    removed text := (select string_agg(ticker, ', ' order by ticker) from service_entry where ticker <> all (new.tickers));
begin
    if removed is not null then
        raise exception 'in service and not in the tickers of the configuration: %', removed
            using errcode = 'integrity_constraint_violation';
    end if;
    select * into newest from configuration order by configuration_id desc limit 1;
    if (newest.tickers, newest.retired, newest.settings) is not distinct from (new.tickers, new.retired, new.settings) then
        return null;
    end if;
    new.configuration_id := coalesce(newest.configuration_id, 0) + 1;
    new.installation_id := (select installation_id from installation);
    new.settings_sha256 := encode(sha256(convert_to(new.settings, 'UTF8')), 'hex');
    new.recorded_at := clock_timestamp();
    return new;
end $$;

create trigger chain_lock_is_taken before insert on configuration
for each statement execute function take_chain_lock();
alter table configuration enable always trigger chain_lock_is_taken;
create trigger configuration_is_a_change before insert on configuration
for each row execute function configuration_is_a_change();
alter table configuration enable always trigger configuration_is_a_change;
create trigger configuration_is_append_only before update or delete or truncate on configuration
for each statement execute function is_append_only();
alter table configuration enable always trigger configuration_is_append_only;

create function configuration_leaf(event_id bigint, c configuration) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'configuration'::text, null::text, c.configuration_id, c.installation_id::text,
    array_to_string(c.tickers, ','), convert_to(c.retired::text, 'UTF8'), c.settings_sha256, c.recorded_at)));

create function configurations_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'configuration'::regclass);
    insert into ledger_event (event_id, event, subject_id, leaf)
    select n.event_id, 'configuration', (n.row).configuration_id, configuration_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by configuration_id) - 1 as event_id,
                 row(added.*)::configuration as row
          from added) n;
    return null;
end $$;

create trigger configurations_are_events after insert on configuration
referencing new table as added for each statement execute function configurations_are_events();
alter table configuration enable always trigger configurations_are_events;

-- A verdict names the configuration in force. Verdicts recorded before have none and no event.
alter table gate_verdict add column configuration_id bigint references configuration;

comment on column gate_verdict.configuration_id is 'The newest configuration when the verdict was recorded: its bounds were judged by.';

create function gate_verdict_names_its_configuration() returns trigger language plpgsql set search_path from current as $$
begin
    new.configuration_id := (select max(configuration_id) from configuration);
    return new;
end $$;

create trigger chain_lock_is_taken before insert on gate_verdict
for each statement execute function take_chain_lock();
alter table gate_verdict enable always trigger chain_lock_is_taken;
create trigger gate_verdict_names_its_configuration before insert on gate_verdict
for each row execute function gate_verdict_names_its_configuration();
alter table gate_verdict enable always trigger gate_verdict_names_its_configuration;

create function verdict_leaf(event_id bigint, v gate_verdict) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'verdict'::text, v.ticker, v.verdict_id, v.trained_on, v.checkpoint_id, v.backtest_id, v.configuration_id,
    v.passed, convert_to(v.rules::text, 'UTF8'), convert_to(v.evidence::text, 'UTF8'),
    convert_to(v.multiple_testing::text, 'UTF8'), v.decided_at)));

-- By its name this trigger fires before the one by which judged tickers enter service: an entry names a verdict.
create function gate_verdicts_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'gate_verdict'::regclass);
    insert into ledger_event (event_id, event, ticker, subject_id, leaf)
    select n.event_id, 'verdict', (n.row).ticker, (n.row).verdict_id, verdict_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by verdict_id) - 1 as event_id, row(added.*)::gate_verdict as row
          from added) n;
    return null;
end $$;

create trigger gate_verdicts_are_events after insert on gate_verdict
referencing new table as added for each statement execute function gate_verdicts_are_events();
alter table gate_verdict enable always trigger gate_verdicts_are_events;

create trigger chain_lock_is_taken before insert on lifecycle_action
for each statement execute function take_chain_lock();
alter table lifecycle_action enable always trigger chain_lock_is_taken;

create function lifecycle_leaf(event_id bigint, a lifecycle_action) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'lifecycle'::text, a.ticker, a.action_id, a.action, a.checkpoint_id, convert_to(a.requested_by, 'UTF8'),
    convert_to(a.database_role::text, 'UTF8'), convert_to(a.why, 'UTF8'), a.recorded_at)));

create function lifecycle_actions_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'lifecycle_action'::regclass);
    insert into ledger_event (event_id, event, ticker, subject_id, leaf)
    select n.event_id, 'lifecycle', (n.row).ticker, (n.row).action_id, lifecycle_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by action_id) - 1 as event_id,
                 row(added.*)::lifecycle_action as row
          from added) n;
    return null;
end $$;

create trigger lifecycle_actions_are_events after insert on lifecycle_action
referencing new table as added for each statement execute function lifecycle_actions_are_events();
alter table lifecycle_action enable always trigger lifecycle_actions_are_events;

revoke all on function configurations_are_events(), gate_verdicts_are_events(), lifecycle_actions_are_events() from public;

create or replace function writer_privileges() returns table (relation name, privilege text, columns name[])
language sql immutable as $$
    select unnest(array[
        'bar', 'split', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'lifecycle_action', 'service_entry', 'simulation',
        'simulation_model', 'snapshot', 'shadow_forecast', 'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session',
        'daily_attempt', 'notification', 'notification_delivery', 'alert',
        'fitted_baselines', 'backtest_score', 'baseline_forecast', 'configuration'
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

select renew_writer_privileges();
