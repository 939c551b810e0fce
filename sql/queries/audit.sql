-- name: event
select event_id, event, version::integer, ticker, run_date, simulation_id, horizon::text, vintage, checkpoint_id, leaf
from ledger_event where event_id = any (%(event_ids)s::bigint[]) order by event_id;

-- name: events_of_forecast
select event_id from ledger_event
where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(simulation_id)s order by event_id;

-- name: recorded_fill
select f.target_session, f.actual, f.pct_error, f.direction_actual, f.direction_correct, f.filled_at
from snapshot s
cross join lateral (values
    ('next_day', s.next_day_session, s.next_day_actual, s.next_day_pct_error,
     s.next_day_direction_actual, s.next_day_direction_correct, s.next_day_filled_at),
    ('next_monday', s.next_monday_session, s.next_monday_actual, s.next_monday_pct_error,
     null::text, null::boolean, s.next_monday_filled_at),
    ('one_month', s.one_month_session, s.one_month_actual, s.one_month_pct_error,
     null::text, null::boolean, s.one_month_filled_at)
) f (horizon, target_session, actual, pct_error, direction_actual, direction_correct, filled_at)
where s.ticker = %(ticker)s and s.run_date = %(run_date)s and s.simulation_id = %(simulation_id)s
  and f.horizon = %(horizon)s and f.actual is not null;

-- name: recorded_forecast
select recorded_at, kind, next_day_session, next_monday_session, one_month_session, run_date_close,
       next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason, checkpoint_id, model_version,
       model_status, checkpoint_sha256, window_sha256, bars_recorded_until,
       volatility, neutral_band, next_day_low_80, next_day_high_80, next_day_low_95, next_day_high_95,
       next_monday_low_80, next_monday_high_80, next_monday_low_95, next_monday_high_95, one_month_low_80,
       one_month_high_80, one_month_low_95, one_month_high_95
from snapshot where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(simulation_id)s;

-- name: recorded_promotion
select version, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256, activated_at
from checkpoint where checkpoint_id = %(checkpoint_id)s and activated_at is not null;

-- name: recorded_restatement
select target_session, bar_recorded_at, actual, restated_actual, detected_at
from restated_actual
where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(simulation_id)s and horizon = %(horizon)s
  and bar_recorded_at = %(vintage)s;

-- name: recorded_retirement
select version, retired_at from checkpoint where checkpoint_id = %(checkpoint_id)s and retired_at is not null;

-- name: recorded_void
select target_session, reason, wait_sessions, voided_at
from voided_fill
where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(simulation_id)s and horizon = %(horizon)s;

-- name: recorded_service
select first_session, verdict_id, entered_at from service_entry where ticker = %(ticker)s;

-- name: recorded_simulation
select started_at, origin, first_session, last_session, retrain_every::bigint, settings_sha256,
       array_to_string(tickers, ',')
from simulation where simulation_id = %(simulation_id)s;

-- name: bars_of_forecasts
-- The recording time of each row of a run date, and whether a bar exists that was recorded at its bars_recorded_until.
select s.ticker, s.recorded_at, s.bars_recorded_until,
       s.window_sha256 is null or exists (
           select from bar
           where bar.ticker = s.ticker and bar.session <= s.run_date and bar.recorded_at = s.bars_recorded_until)
           as has_its_newest_bar
from snapshot s
where s.run_date = %(run_date)s and s.simulation_id = %(simulation_id)s
order by s.ticker;

-- name: later_vintages
select distinct recorded_at
from bar
where ticker = %(ticker)s and session <= %(last)s and recorded_at > %(moment)s
order by recorded_at;

-- name: check_fills
select event_id, 'fill' as event, ticker, run_date, horizon, simulation_id, what
from (
    select e.event_id, coalesce(e.ticker, f.ticker) as ticker, coalesce(e.run_date, f.run_date) as run_date,
           coalesce(e.simulation_id, f.simulation_id) as simulation_id,
           coalesce(e.horizon, f.horizon) as horizon,
           case
               when f.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'fill'::text, f.ticker, f.run_date, f.simulation_id, f.horizon, f.target_session, f.actual,
                   f.pct_error, f.direction_actual, f.direction_correct, f.filled_at))) then 'altered'
               when f.filled_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or f.filled_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (select event_id, ticker, run_date, simulation_id, horizon::text as horizon, leaf
          from ledger_event where event = 'fill') e
    full join (
        select s.ticker, s.run_date, s.simulation_id, h.*
        from snapshot s
        cross join lateral (values
            ('next_day', s.next_day_session, s.next_day_actual, s.next_day_pct_error,
             s.next_day_direction_actual, s.next_day_direction_correct, s.next_day_filled_at),
            ('next_monday', s.next_monday_session, s.next_monday_actual, s.next_monday_pct_error,
             null::text, null::boolean, s.next_monday_filled_at),
            ('one_month', s.one_month_session, s.one_month_actual, s.one_month_pct_error,
             null::text, null::boolean, s.one_month_filled_at)
        ) h (horizon, target_session, actual, pct_error, direction_actual, direction_correct, filled_at)
        where h.actual is not null
    ) f on (f.ticker, f.run_date, f.simulation_id, f.horizon) = (e.ticker, e.run_date, e.simulation_id, e.horizon)
) checked
where what is not null
order by event_id nulls last, run_date, ticker, horizon
limit 100;

-- name: check_forecasts
-- Compares every forecast with its event, by the version of the record format that the event names; version 1 has no
-- volatility, band or interval. The hash is computed here from the columns with built-in functions of PostgreSQL: the
-- owner of the tables could have replaced the functions of the schema.
select event_id, 'forecast' as event, ticker, run_date, null as horizon, simulation_id, what
from (
    select e.event_id, coalesce(e.ticker, s.ticker) as ticker, coalesce(e.run_date, s.run_date) as run_date,
           coalesce(e.simulation_id, s.simulation_id) as simulation_id,
           case
               when s.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from case e.version
                   when 1 then pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                       e.event_id, 'forecast'::text, s.ticker, s.run_date, s.simulation_id, s.recorded_at, s.kind,
                       s.next_day_session, s.next_monday_session, s.one_month_session, s.run_date_close,
                       s.next_day_pred, s.next_monday_pred, s.one_month_pred, s.direction_pred,
                       pg_catalog.convert_to(s.abstained_reason, 'UTF8'), s.checkpoint_id, s.model_version,
                       s.model_status, s.checkpoint_sha256, s.window_sha256, s.bars_recorded_until)))
                   when 2 then pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                       e.event_id, 'forecast'::text, s.ticker, s.run_date, s.simulation_id, s.recorded_at, s.kind,
                       s.next_day_session, s.next_monday_session, s.one_month_session, s.run_date_close,
                       s.next_day_pred, s.next_monday_pred, s.one_month_pred, s.direction_pred,
                       pg_catalog.convert_to(s.abstained_reason, 'UTF8'), s.checkpoint_id, s.model_version,
                       s.model_status, s.checkpoint_sha256, s.window_sha256, s.bars_recorded_until,
                       s.volatility, s.neutral_band, s.next_day_low_80, s.next_day_high_80, s.next_day_low_95,
                       s.next_day_high_95, s.next_monday_low_80, s.next_monday_high_80, s.next_monday_low_95,
                       s.next_monday_high_95, s.one_month_low_80, s.one_month_high_80, s.one_month_low_95,
                       s.one_month_high_95)))
                   end then 'altered'
               when e.version = 1 and pg_catalog.num_nonnulls(
                        s.volatility, s.neutral_band, s.next_day_low_80, s.next_day_high_80, s.next_day_low_95,
                        s.next_day_high_95, s.next_monday_low_80, s.next_monday_high_80, s.next_monday_low_95,
                        s.next_monday_high_95, s.one_month_low_80, s.one_month_high_80, s.one_month_low_95,
                        s.one_month_high_95) > 0 then 'altered'
               when (s.next_day_session, s.next_monday_session, s.one_month_session) is distinct from (
                   (%(sessions)s::date[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 1],
                   (%(next_mondays)s::date[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[])],
                   (%(sessions)s::date[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 21])
                and not exists (
                    select from unnest(%(called_off)s::date[]) day where day > s.run_date and day <= s.one_month_session)
                   then 'mistargeted'
               when (s.next_day_actual is null and pg_catalog.num_nonnulls(
                        s.next_day_pct_error, s.next_day_direction_actual, s.next_day_direction_correct,
                        s.next_day_filled_at) > 0)
                 or (s.next_monday_actual is null
                     and pg_catalog.num_nonnulls(s.next_monday_pct_error, s.next_monday_filled_at) > 0)
                 or (s.one_month_actual is null
                     and pg_catalog.num_nonnulls(s.one_month_pct_error, s.one_month_filled_at) > 0) then 'altered'
               when s.recorded_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or s.recorded_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
               when s.kind = 'live'
                and s.recorded_at >= (%(opens)s::timestamptz[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 1]
                   then 'late'
           end as what
    from (select event_id, version, ticker, run_date, simulation_id, leaf from ledger_event where event = 'forecast') e
    full join snapshot s on (s.ticker, s.run_date, s.simulation_id) = (e.ticker, e.run_date, e.simulation_id)
) checked
where what is not null
order by event_id nulls last, run_date, ticker, simulation_id
limit 100;

-- name: check_models
select event_id, event, ticker, null::date as run_date, null as horizon, 0 as simulation_id, what
from (
    select e.event_id, coalesce(e.event, m.event) as event, coalesce(e.ticker, m.ticker) as ticker,
           case
               when m.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from case m.event
                   when 'promotion' then pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                       e.event_id, 'promotion'::text, m.ticker, m.checkpoint_id, m.version, m.trained_on,
                       m.architecture_sha256, m.recipe_sha256, m.data_sha256, m.file_sha256, m.happened_at)))
                   else pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                       e.event_id, 'retirement'::text, m.ticker, m.checkpoint_id, m.version, m.happened_at)))
                   end then 'altered'
               when m.happened_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or m.happened_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (
        select event_id, event, ticker, checkpoint_id, leaf from ledger_event
        where event in ('promotion', 'retirement')
    ) e
    full join (
        select c.ticker, c.checkpoint_id, c.version, c.trained_on, c.architecture_sha256, c.recipe_sha256,
               c.data_sha256, c.file_sha256, h.event, h.happened_at
        from checkpoint c
        cross join lateral (values
            ('promotion', c.activated_at, c.status <> 'candidate'), ('retirement', c.retired_at, c.status = 'retired')
        ) h (event, happened_at, has_happened)
        where h.has_happened or h.happened_at is not null
    ) m on m.checkpoint_id = e.checkpoint_id and m.event = e.event and m.ticker = e.ticker
) checked
where what is not null
order by event_id nulls last, ticker
limit 100;

-- name: check_restatements
select event_id, 'restatement' as event, ticker, run_date, horizon, simulation_id, what
from (
    select e.event_id, coalesce(e.ticker, r.ticker) as ticker, coalesce(e.run_date, r.run_date) as run_date,
           coalesce(e.simulation_id, r.simulation_id) as simulation_id,
           coalesce(e.horizon, r.horizon) as horizon,
           case
               when r.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'restatement'::text, r.ticker, r.run_date, r.simulation_id, r.horizon, r.target_session,
                   r.bar_recorded_at, r.actual, r.restated_actual, r.detected_at))) then 'altered'
               when r.detected_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or r.detected_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (
        select event_id, ticker, run_date, simulation_id, horizon::text as horizon, vintage, leaf
        from ledger_event where event = 'restatement'
    ) e
    full join (
        select ticker, run_date, simulation_id, horizon::text as horizon, target_session, bar_recorded_at, actual,
               restated_actual, detected_at
        from restated_actual
    ) r on (r.ticker, r.run_date, r.simulation_id, r.horizon, r.bar_recorded_at)
        = (e.ticker, e.run_date, e.simulation_id, e.horizon, e.vintage)
) checked
where what is not null
order by event_id nulls last, run_date, ticker, horizon
limit 100;

-- name: check_voids
select event_id, 'void' as event, ticker, run_date, horizon, simulation_id, what
from (
    select e.event_id, coalesce(e.ticker, v.ticker) as ticker, coalesce(e.run_date, v.run_date) as run_date,
           coalesce(e.simulation_id, v.simulation_id) as simulation_id,
           coalesce(e.horizon, v.horizon) as horizon,
           case
               when v.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'void'::text, v.ticker, v.run_date, v.simulation_id, v.horizon, v.target_session,
                   pg_catalog.convert_to(v.reason, 'UTF8'), v.wait_sessions, v.voided_at))) then 'altered'
               when v.voided_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or v.voided_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (select event_id, ticker, run_date, simulation_id, horizon::text as horizon, leaf
          from ledger_event where event = 'void') e
    full join (
        select ticker, run_date, simulation_id, horizon::text as horizon, target_session, reason, wait_sessions::bigint,
               voided_at
        from voided_fill
    ) v on (v.ticker, v.run_date, v.simulation_id, v.horizon) = (e.ticker, e.run_date, e.simulation_id, e.horizon)
) checked
where what is not null
order by event_id nulls last, run_date, ticker, horizon
limit 100;

-- name: check_service_entries
select event_id, 'service' as event, ticker, null::date as run_date, null as horizon, 0 as simulation_id, what
from (
    select e.event_id, coalesce(e.ticker, t.ticker) as ticker,
           case
               when t.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'service'::text, t.ticker, t.first_session, t.verdict_id, t.entered_at))) then 'altered'
               when t.entered_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or t.entered_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (select event_id, ticker, leaf from ledger_event where event = 'service') e
    full join service_entry t on t.ticker = e.ticker
) checked
where what is not null
order by event_id nulls last, ticker
limit 100;

-- name: check_simulations
select event_id, 'simulation' as event, null as ticker, null::date as run_date, null as horizon, simulation_id, what
from (
    select e.event_id, coalesce(e.simulation_id, t.simulation_id) as simulation_id,
           case
               when t.simulation_id is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'simulation'::text, null::text, t.simulation_id, t.started_at,
                   pg_catalog.convert_to(t.origin, 'UTF8'), t.first_session, t.last_session, t.retrain_every::bigint,
                   t.settings_sha256, pg_catalog.array_to_string(t.tickers, ',')))) then 'altered'
               when t.started_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or t.started_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (select event_id, simulation_id, leaf from ledger_event where event = 'simulation') e
    full join simulation t on t.simulation_id = e.simulation_id
) checked
where what is not null
order by event_id nulls last, simulation_id
limit 100;

-- name: unknown_events
select event_id, event, ticker, run_date, simulation_id
from ledger_event
where event is null or event not in ('forecast', 'fill', 'void', 'restatement', 'promotion', 'retirement',
                                      'service', 'simulation')
order by event_id
limit 100;

-- name: unknown_versions
-- Only forecasts have a second version; that of a forecast is checked with its hash.
select event_id, event, ticker, run_date, horizon::text, simulation_id
from ledger_event
where event <> 'forecast' and version is distinct from 1
order by event_id
limit 100;

-- name: extent
select count(*) as num_events, coalesce(max(event_id) + 1, 0) as end_of_chain from ledger_event;

-- name: gaps
select previous + 1 as first_missing, event_id - 1 as last_missing
from (select event_id, lag(event_id, 1, -1::bigint) over (order by event_id) as previous from ledger_event) e
where event_id > previous + 1
order by event_id
limit 100;

-- name: counts
-- The number of events of each kind, and of the rows that they should cover.
with counted as (
    select event, count(*) as num_events from ledger_event group by event
)
select event, coalesce(num_events, 0) as num_events, num_rows
from (
    select 'forecast' as event, count(*) as num_rows from snapshot
    union all
    select 'fill', coalesce(sum(pg_catalog.num_nonnulls(next_day_actual, next_monday_actual, one_month_actual)), 0)
    from snapshot
    union all select 'void', count(*) from voided_fill
    union all select 'restatement', count(*) from restated_actual
    union all select 'promotion', count(*) from checkpoint where status <> 'candidate'
    union all select 'retirement', count(*) from checkpoint where status = 'retired'
    union all select 'service', count(*) from service_entry
    union all select 'simulation', count(*) from simulation
) subject
left join counted using (event);

-- name: duplicates
select max(event_id), event, ticker, run_date, horizon::text, simulation_id
from ledger_event
group by event, ticker, run_date, simulation_id, horizon, vintage, checkpoint_id
having count(*) > 1
order by max(event_id)
limit 100;

-- name: surroundings
-- Objects and settings of the schema that could change the result of the checks; each finding completes a sentence.
with chained as (
    select c.oid, c.relname, c.relkind, c.relrowsecurity, c.relhasrules
    from unnest(array['snapshot', 'checkpoint', 'voided_fill', 'restated_actual', 'ledger_event', 'ledger_seal',
                      'trading_session', 'service_entry', 'simulation']) as t (name)
    join pg_catalog.pg_class c on c.relname::text = t.name and c.relnamespace = current_schema()::regnamespace)
select finding
from (
    select 1 as place, relname || ' is no plain table' as finding from chained where relkind::text <> 'r'
    union all
    select 2, 'row security hides rows of ' || relname from chained where relrowsecurity
    union all
    select 3, 'rules rewrite what is asked of ' || relname from chained where relhasrules
    union all
    select 4, relname || ' has lost its primary key' from chained
    where relkind::text = 'r' and not exists (
        select from pg_catalog.pg_index i where i.indrelid = chained.oid and i.indisprimary and i.indisvalid)
    union all
    select 5, 'the column ' || a.attname || ' of ' || relname || ' has a type of the schema''s own'
    from chained
    join pg_catalog.pg_attribute a on a.attrelid = chained.oid and a.attnum > 0 and not a.attisdropped
    join pg_catalog.pg_type t on t.oid = a.atttypid
    where t.typnamespace <> 'pg_catalog'::regnamespace
      and not (t.typname::text = 'horizon' and t.typtype::text = 'd' and t.typbasetype = 'text'::regtype)
    union all
    select 6, 'the trigger ' || t.tgname || ' of ' || relname || ' is switched off'
    from chained join pg_catalog.pg_trigger t on t.tgrelid = chained.oid
    where t.tgenabled::text = 'D'
    union all
    select 7, 'the operator ' || oprname || ' is one of the schema''s own'
    from pg_catalog.pg_operator where oprnamespace = current_schema()::regnamespace
    union all
    select 8, 'the function ' || f.proname || ' stands in for one of PostgreSQL''s'
    from pg_catalog.pg_proc f
    where f.pronamespace = current_schema()::regnamespace
      and exists (select from pg_catalog.pg_proc own
                  where own.pronamespace = 'pg_catalog'::regnamespace and own.proname = f.proname)
) surroundings
order by place, finding;

-- name: calendar
-- Opened sessions that differ between the database and the exchange calendar, in either direction.
select coalesce(known.session, given.session) as session, known.opens_at, given.opens_at as calendar_opens_at
from (select session, opens_at, closes_at from trading_session where opens_at <= clock_timestamp()) known
full join (
    select * from unnest(%(sessions)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
        as g (session, opens_at, closes_at)
    where opens_at <= clock_timestamp()
) given using (session)
where (known.opens_at, known.closes_at) is distinct from (given.opens_at, given.closes_at)
order by 1
limit 100;

-- name: close
-- The trigger ledger_seal_is_computed fills the row; no row is returned without an event since the last seal.
insert into ledger_seal default values returning seal_id;

-- name: seals
select seal_id, session, first_event, num_events, merkle_root, previous_sha256, sealed_at, sha256,
       coalesce(sealed.leaves, ''::bytea) as leaves
from ledger_seal
left join lateral (
    select string_agg(leaf, ''::bytea order by event_id) as leaves from ledger_event
    where event_id >= first_event and event_id < first_event + num_events
) sealed on true
where seal_id >= %(first)s
order by seal_id;

-- name: seal_hashes
select seal_id, sha256 from ledger_seal order by seal_id;

-- name: settings
-- For the current transaction: joins of a million events with their rows stay in memory, without just-in-time
-- compilation.
select set_config('work_mem', %(work_mem)s, true), set_config('jit', 'off', true);

-- name: live_rows
-- The evidence that live forecasts were made in time: a third-party time stamp of their seal from before the open,
-- which needs no trust in the owner; a seal from before the open, which needs trust in the keeper of the seal; or
-- neither.
select count(*) as num_live,
       count(*) filter (where sealed_at < opens_at) as num_sealed_in_time,
       count(*) filter (where stamped_at < opens_at) as num_stamped_in_time,
       min(run_date) filter (where sealed_at is null or sealed_at >= opens_at) as first_unsealed
from (
    select s.run_date,
           (%(opens)s::timestamptz[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 1] as opens_at,
           (%(sealed_at)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])] as sealed_at,
           (%(stamped_at)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])] as stamped_at
    from snapshot s
    join ledger_event e on e.event = 'forecast' and e.ticker = s.ticker and e.run_date = s.run_date
        and e.simulation_id = s.simulation_id
    where s.kind = 'live' and s.abstained_reason is null
) live;
