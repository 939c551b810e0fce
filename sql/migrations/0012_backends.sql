-- The backend that computed a forecast: PyTorch from the checkpoint, ONNX Runtime from its export, or a TensorRT engine. It
-- is hashed: events of forecasts have version 3 of the record format from here on, and those recorded before keep their
-- bytes. docs/record-format.md describes all three.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table snapshot
    add column backend text,
    add constraint snapshot_has_a_known_backend check (backend in ('torch', 'onnx', 'tensorrt', 'tensorrt-rtx')),
    add constraint snapshot_abstains_without_backend check (abstained_reason is null or backend is null);

comment on column snapshot.backend is
    'What computed the forecast: torch, onnx, tensorrt or tensorrt-rtx; NULL for an abstention and before version 3, where it was torch.';

-- A forecast is never changed. An actual changes once from NULL to a value, and its errors and directions are computed
-- here. Actuals are compared with the bars once per statement, see actuals_are_those_of_the_bars(). All columns but those
-- of actuals belong to the forecast, also those that a later migration adds.
create or replace function snapshot_is_written_once() returns trigger language plpgsql stable set search_path from current as $$
declare
    without_fills snapshot := new;
begin
    without_fills.next_day_actual := old.next_day_actual;
    without_fills.next_day_pct_error := old.next_day_pct_error;
    without_fills.next_day_direction_actual := old.next_day_direction_actual;
    without_fills.next_day_direction_correct := old.next_day_direction_correct;
    without_fills.next_day_filled_at := old.next_day_filled_at;
    without_fills.next_monday_actual := old.next_monday_actual;
    without_fills.next_monday_pct_error := old.next_monday_pct_error;
    without_fills.next_monday_filled_at := old.next_monday_filled_at;
    without_fills.one_month_actual := old.one_month_actual;
    without_fills.one_month_pct_error := old.one_month_pct_error;
    without_fills.one_month_filled_at := old.one_month_filled_at;
    if without_fills is distinct from old then
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
    drop constraint ledger_event_has_a_known_version,
    add constraint ledger_event_has_a_known_version check (version = 1 or (event = 'forecast' and version in (2, 3)));

create or replace function forecast_leaf(event_id bigint, f snapshot) returns bytea stable return sha256('\x00'::bytea || record_send(row(
    event_id, 'forecast'::text, f.ticker, f.run_date, f.simulation_id, f.recorded_at, f.kind,
    f.next_day_session, f.next_monday_session, f.one_month_session, f.run_date_close,
    f.next_day_pred, f.next_monday_pred, f.one_month_pred, f.direction_pred, convert_to(f.abstained_reason, 'UTF8'),
    f.checkpoint_id, f.model_version, f.model_status, f.checkpoint_sha256, f.window_sha256, f.bars_recorded_until,
    f.volatility, f.neutral_band, f.next_day_low_80, f.next_day_high_80, f.next_day_low_95, f.next_day_high_95,
    f.next_monday_low_80, f.next_monday_high_80, f.next_monday_low_95, f.next_monday_high_95, f.one_month_low_80,
    f.one_month_high_80, f.one_month_low_95, f.one_month_high_95, f.backend)));

create or replace function forecasts_are_events() returns trigger language plpgsql security definer set search_path from current as $$
declare
    next_id bigint := coalesce((select max(event_id) + 1 from ledger_event), 0);
begin
    perform require_own_table(tg_relid, 'snapshot'::regclass);
    insert into ledger_event (event_id, event, version, ticker, run_date, simulation_id, leaf)
    select n.event_id, 'forecast', 3, (n.row).ticker, (n.row).run_date, (n.row).simulation_id,
           forecast_leaf(n.event_id, n.row)
    from (select next_id + row_number() over (order by simulation_id, run_date, ticker) - 1 as event_id, row(added.*)::snapshot as row
          from added) n;
    return null;
end $$;
