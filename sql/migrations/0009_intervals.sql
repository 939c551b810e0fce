-- Prediction intervals: each forecast carries an interval of 80% and one of 95% for each horizon, with the volatility and the
-- neutral band that it was made with. They are hashed: events of forecasts have version 2 of the record format from here
-- on, and those recorded before keep their bytes. docs/record-format.md describes both.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table snapshot
    add column volatility double precision,
    add column neutral_band double precision,
    add column next_day_low_80 double precision,
    add column next_day_high_80 double precision,
    add column next_day_low_95 double precision,
    add column next_day_high_95 double precision,
    add column next_monday_low_80 double precision,
    add column next_monday_high_80 double precision,
    add column next_monday_low_95 double precision,
    add column next_monday_high_95 double precision,
    add column one_month_low_80 double precision,
    add column one_month_high_80 double precision,
    add column one_month_low_95 double precision,
    add column one_month_high_95 double precision,
    add constraint snapshot_volatility_and_band_are_numbers check (
        volatility >= 0 and volatility < 'infinity' and neutral_band >= 0 and neutral_band < 'infinity'),
    add constraint snapshot_intervals_have_both_ends check (
        (next_day_low_80 is null) = (next_day_high_80 is null)
        and (next_day_low_95 is null) = (next_day_high_95 is null)
        and (next_monday_low_80 is null) = (next_monday_high_80 is null)
        and (next_monday_low_95 is null) = (next_monday_high_95 is null)
        and (one_month_low_80 is null) = (one_month_high_80 is null)
        and (one_month_low_95 is null) = (one_month_high_95 is null)),
    add constraint snapshot_intervals_are_of_prices check (
        next_day_low_80 >= 0 and next_day_low_80 <= next_day_high_80 and next_day_high_80 < 'infinity'
        and next_day_low_95 >= 0 and next_day_low_95 <= next_day_high_95 and next_day_high_95 < 'infinity'
        and next_monday_low_80 >= 0 and next_monday_low_80 <= next_monday_high_80 and next_monday_high_80 < 'infinity'
        and next_monday_low_95 >= 0 and next_monday_low_95 <= next_monday_high_95 and next_monday_high_95 < 'infinity'
        and one_month_low_80 >= 0 and one_month_low_80 <= one_month_high_80 and one_month_high_80 < 'infinity'
        and one_month_low_95 >= 0 and one_month_low_95 <= one_month_high_95 and one_month_high_95 < 'infinity'),
    add constraint snapshot_intervals_are_nested check (
        next_day_low_95 <= next_day_low_80 and next_day_high_80 <= next_day_high_95
        and next_monday_low_95 <= next_monday_low_80 and next_monday_high_80 <= next_monday_high_95
        and one_month_low_95 <= one_month_low_80 and one_month_high_80 <= one_month_high_95),
    add constraint snapshot_abstains_without_intervals check (
        abstained_reason is null or num_nonnulls(
            volatility, neutral_band, next_day_low_80, next_day_high_80, next_day_low_95, next_day_high_95,
            next_monday_low_80, next_monday_high_80, next_monday_low_95, next_monday_high_95, one_month_low_80,
            one_month_high_80, one_month_low_95, one_month_high_95) = 0);

comment on column snapshot.volatility is
    'Standard deviation of the daily log returns inside the input window: the unit of the intervals; NULL before version 2.';
comment on column snapshot.neutral_band is
    'Predicted next-day return up to which this row''s direction is neutral; NULL before version 2.';
comment on column snapshot.next_day_low_80 is
    'Lower end of the 80% interval of the next-day price; NULL where too few outcomes of past forecasts were known.';

-- A forecast is never changed. An actual changes once from NULL to a value, and its errors and directions are computed
-- here. Actuals are compared with the bars once per statement, see actuals_are_those_of_the_bars().
create or replace function snapshot_is_written_once() returns trigger language plpgsql stable set search_path from current as $$
begin
    if (new.ticker, new.run_date, new.simulation_id, new.recorded_at, new.kind,
        new.next_day_session, new.next_monday_session, new.one_month_session,
        new.run_date_close, new.next_day_pred, new.next_monday_pred, new.one_month_pred, new.direction_pred,
        new.abstained_reason, new.checkpoint_id, new.model_version, new.model_status, new.checkpoint_sha256,
        new.window_sha256, new.bars_recorded_until,
        new.volatility, new.neutral_band, new.next_day_low_80, new.next_day_high_80, new.next_day_low_95,
        new.next_day_high_95, new.next_monday_low_80, new.next_monday_high_80, new.next_monday_low_95,
        new.next_monday_high_95, new.one_month_low_80, new.one_month_high_80, new.one_month_low_95,
        new.one_month_high_95)
       is distinct from
       (old.ticker, old.run_date, old.simulation_id, old.recorded_at, old.kind,
        old.next_day_session, old.next_monday_session, old.one_month_session,
        old.run_date_close, old.next_day_pred, old.next_monday_pred, old.one_month_pred, old.direction_pred,
        old.abstained_reason, old.checkpoint_id, old.model_version, old.model_status, old.checkpoint_sha256,
        old.window_sha256, old.bars_recorded_until,
        old.volatility, old.neutral_band, old.next_day_low_80, old.next_day_high_80, old.next_day_low_95,
        old.next_day_high_95, old.next_monday_low_80, old.next_monday_high_80, old.next_monday_low_95,
        old.next_monday_high_95, old.one_month_low_80, old.one_month_high_80, old.one_month_low_95,
        old.one_month_high_95) then
        raise exception 'the forecast of % on % is on record and cannot be changed', old.ticker, old.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    if old.abstained_reason is not null then
        raise exception '% abstained on %: there is nothing to fill', old.ticker, old.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    if old.next_day_actual is null and new.next_day_actual is not null then
        new.next_day_pct_error := pct_error(new.next_day_pred, new.next_day_actual);
        new.next_day_direction_actual := direction_of(new.next_day_actual, new.run_date_close);
        new.next_day_direction_correct := case
            when new.direction_pred <> 'neutral' then new.direction_pred = new.next_day_direction_actual end;
        new.next_day_filled_at := clock_timestamp();
    end if;
    if old.next_monday_actual is null and new.next_monday_actual is not null then
        new.next_monday_pct_error := pct_error(new.next_monday_pred, new.next_monday_actual);
        new.next_monday_filled_at := clock_timestamp();
    end if;
    if old.one_month_actual is null and new.one_month_actual is not null then
        new.one_month_pct_error := pct_error(new.one_month_pred, new.one_month_actual);
        new.one_month_filled_at := clock_timestamp();
    end if;
    if (old.next_day_actual is not null
        and (new.next_day_actual, new.next_day_pct_error, new.next_day_direction_actual,
             new.next_day_direction_correct, new.next_day_filled_at)
            is distinct from
            (old.next_day_actual, old.next_day_pct_error, old.next_day_direction_actual,
             old.next_day_direction_correct, old.next_day_filled_at))
       or (old.next_monday_actual is not null
           and (new.next_monday_actual, new.next_monday_pct_error, new.next_monday_filled_at)
               is distinct from (old.next_monday_actual, old.next_monday_pct_error, old.next_monday_filled_at))
       or (old.one_month_actual is not null
           and (new.one_month_actual, new.one_month_pct_error, new.one_month_filled_at)
               is distinct from (old.one_month_actual, old.one_month_pct_error, old.one_month_filled_at)) then
        raise exception 'an actual of % on % was filled and cannot be changed', old.ticker, old.run_date
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

alter table ledger_event
    add column version smallint not null default 1,
    add constraint ledger_event_has_a_known_version check (version = 1 or (event = 'forecast' and version = 2));

comment on column ledger_event.version is 'The version of the record format that the event''s canonical bytes have.';

create or replace function forecast_leaf(event_id bigint, f snapshot) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'forecast'::text, f.ticker, f.run_date, f.simulation_id, f.recorded_at, f.kind,
    f.next_day_session, f.next_monday_session, f.one_month_session, f.run_date_close,
    f.next_day_pred, f.next_monday_pred, f.one_month_pred, f.direction_pred, convert_to(f.abstained_reason, 'UTF8'),
    f.checkpoint_id, f.model_version, f.model_status, f.checkpoint_sha256, f.window_sha256, f.bars_recorded_until,
    f.volatility, f.neutral_band, f.next_day_low_80, f.next_day_high_80, f.next_day_low_95, f.next_day_high_95,
    f.next_monday_low_80, f.next_monday_high_80, f.next_monday_low_95, f.next_monday_high_95, f.one_month_low_80,
    f.one_month_high_80, f.one_month_low_95, f.one_month_high_95)));

create or replace function forecasts_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'snapshot'::regclass);
    insert into ledger_event (event_id, event, version, ticker, run_date, simulation_id, leaf)
    select n.event_id, 'forecast', 2, (n.row).ticker, (n.row).run_date, (n.row).simulation_id,
           forecast_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by simulation_id, run_date, ticker) - 1 as event_id, row(added.*)::snapshot as row
          from added) n;
    return null;
end $$;
