-- name: event
select event_id, event, version::integer, ticker, run_date, coalesce(subject_id, simulation_id), horizon::text, vintage,
       checkpoint_id, leaf
from ledger_event where event_id = any (%(event_ids)s::bigint[]) order by event_id;

-- name: events_of_forecast
select event_id from ledger_event
where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(simulation_id)s order by event_id;

-- name: configuration_at
select event_id from ledger_event where event = 'configuration' and event_id < %(event_id)s
order by event_id desc limit 1;

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
where s.ticker = %(ticker)s and s.run_date = %(run_date)s and s.simulation_id = %(number)s
  and f.horizon = %(horizon)s and f.actual is not null;

-- name: recorded_forecast
select recorded_at, kind, next_day_session, next_monday_session, one_month_session, run_date_close,
       next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason, checkpoint_id, model_version,
       model_status, checkpoint_sha256, window_sha256, bars_recorded_until,
       volatility, neutral_band, next_day_low_80, next_day_high_80, next_day_low_95, next_day_high_95,
       next_monday_low_80, next_monday_high_80, next_monday_low_95, next_monday_high_95, one_month_low_80,
       one_month_high_80, one_month_low_95, one_month_high_95, backend
from snapshot where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(number)s;

-- name: recorded_promotion
select version, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256, activated_at
from checkpoint where checkpoint_id = %(checkpoint_id)s and activated_at is not null;

-- name: recorded_restatement
select target_session, bar_recorded_at, actual, restated_actual, detected_at
from restated_actual
where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(number)s and horizon = %(horizon)s
  and bar_recorded_at = %(vintage)s;

-- name: recorded_retirement
select version, retired_at from checkpoint where checkpoint_id = %(checkpoint_id)s and retired_at is not null;

-- name: recorded_void
select target_session, reason, wait_sessions, voided_at
from voided_fill
where ticker = %(ticker)s and run_date = %(run_date)s and simulation_id = %(number)s and horizon = %(horizon)s;

-- name: recorded_service
select first_session, verdict_id, entered_at from service_entry where ticker = %(ticker)s;

-- name: recorded_simulation
select started_at, origin, first_session, last_session, retrain_every::bigint, settings_sha256,
       array_to_string(tickers, ',')
from simulation where simulation_id = %(number)s;

-- name: recorded_configuration
select installation_id::text, array_to_string(tickers, ','), retired::text, settings_sha256, recorded_at
from configuration where configuration_id = %(number)s;

-- name: recorded_verdict
select trained_on, checkpoint_id, backtest_id, configuration_id, passed, rules::text, evidence::text,
       multiple_testing::text, decided_at
from gate_verdict where verdict_id = %(number)s and ticker = %(ticker)s;

-- name: recorded_lifecycle
select action, checkpoint_id, requested_by, database_role::text, why, recorded_at
from lifecycle_action where action_id = %(number)s and ticker = %(ticker)s;

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

-- name: hashed_forecasts
-- Every forecast and its event: the leaf on record and the version of its format, the subject of the event, whether there
-- is a row, whether it has an error, a direction or a time of fill without the actual, and whether a live forecast has a
-- model that was active by then and a stored window; then the hashed fields.
select e.leaf, e.version::bigint, coalesce(e.ticker, s.ticker), coalesce(e.run_date, s.run_date),
       coalesce(e.simulation_id, s.simulation_id), null::text, s.ticker is not null,
       (s.next_day_actual is null and (s.next_day_pct_error is not null or s.next_day_direction_actual is not null
            or s.next_day_direction_correct is not null or s.next_day_filled_at is not null))
        or (s.next_monday_actual is null and (s.next_monday_pct_error is not null or s.next_monday_filled_at is not null))
        or (s.one_month_actual is null and (s.one_month_pct_error is not null or s.one_month_filled_at is not null)),
       s.kind <> 'live' or s.abstained_reason is not null or (
           exists (select from checkpoint c
                   where c.checkpoint_id = s.checkpoint_id and c.ticker = s.ticker and c.file_sha256 = s.checkpoint_sha256
                     and c.activated_at <= s.recorded_at)
           and exists (select from input_window w
                       where w.ticker = s.ticker and w.session = s.run_date and w.window_sha256 = s.window_sha256
                         and w.recorded_at <= s.recorded_at)),
       e.event_id, 'forecast'::text, s.ticker, s.run_date, s.simulation_id, s.recorded_at, s.kind,
       s.next_day_session, s.next_monday_session, s.one_month_session, s.run_date_close,
       s.next_day_pred, s.next_monday_pred, s.one_month_pred, s.direction_pred, s.abstained_reason,
       s.checkpoint_id, s.model_version, s.model_status, s.checkpoint_sha256, s.window_sha256, s.bars_recorded_until,
       s.volatility, s.neutral_band, s.next_day_low_80, s.next_day_high_80, s.next_day_low_95, s.next_day_high_95,
       s.next_monday_low_80, s.next_monday_high_80, s.next_monday_low_95, s.next_monday_high_95, s.one_month_low_80,
       s.one_month_high_80, s.one_month_low_95, s.one_month_high_95, s.backend
from (select event_id, version, ticker, run_date, simulation_id, leaf from ledger_event where event = 'forecast') e
full join snapshot s on (s.ticker, s.run_date, s.simulation_id) = (e.ticker, e.run_date, e.simulation_id);

-- name: hashed_fills
-- In addition to the hashed fields: the fields of the forecast that the error and the direction follow from.
select e.leaf, e.version::bigint, coalesce(e.ticker, f.ticker), coalesce(e.run_date, f.run_date),
       coalesce(e.simulation_id, f.simulation_id), coalesce(e.horizon, f.horizon), f.ticker is not null,
       f.pred, f.run_date_close, f.direction_pred, f.bars_recorded_until,
       e.event_id, 'fill'::text, f.ticker, f.run_date, f.simulation_id, f.horizon, f.target_session, f.actual,
       f.pct_error, f.direction_actual, f.direction_correct, f.filled_at
from (select event_id, version, ticker, run_date, simulation_id, horizon::text as horizon, leaf
      from ledger_event where event = 'fill') e
full join (
    select s.ticker, s.run_date, s.simulation_id, s.run_date_close, s.direction_pred, s.bars_recorded_until, h.*
    from snapshot s
    cross join lateral (values
        ('next_day', s.next_day_pred, s.next_day_session, s.next_day_actual, s.next_day_pct_error,
         s.next_day_direction_actual, s.next_day_direction_correct, s.next_day_filled_at),
        ('next_monday', s.next_monday_pred, s.next_monday_session, s.next_monday_actual, s.next_monday_pct_error,
         null::text, null::boolean, s.next_monday_filled_at),
        ('one_month', s.one_month_pred, s.one_month_session, s.one_month_actual, s.one_month_pct_error,
         null::text, null::boolean, s.one_month_filled_at)
    ) h (horizon, pred, target_session, actual, pct_error, direction_actual, direction_correct, filled_at)
    where h.actual is not null
) f on (f.ticker, f.run_date, f.simulation_id, f.horizon) = (e.ticker, e.run_date, e.simulation_id, e.horizon);

-- name: hashed_voids
select e.leaf, e.version::bigint, coalesce(e.ticker, v.ticker), coalesce(e.run_date, v.run_date),
       coalesce(e.simulation_id, v.simulation_id), coalesce(e.horizon, v.horizon), v.ticker is not null,
       e.event_id, 'void'::text, v.ticker, v.run_date, v.simulation_id, v.horizon, v.target_session, v.reason,
       v.wait_sessions, v.voided_at
from (select event_id, version, ticker, run_date, simulation_id, horizon::text as horizon, leaf
      from ledger_event where event = 'void') e
full join (
    select ticker, run_date, simulation_id, horizon::text as horizon, target_session, reason,
           wait_sessions::bigint as wait_sessions, voided_at
    from voided_fill
) v on (v.ticker, v.run_date, v.simulation_id, v.horizon) = (e.ticker, e.run_date, e.simulation_id, e.horizon);

-- name: hashed_restatements
select e.leaf, e.version::bigint, coalesce(e.ticker, r.ticker), coalesce(e.run_date, r.run_date),
       coalesce(e.simulation_id, r.simulation_id), coalesce(e.horizon, r.horizon), r.ticker is not null,
       e.event_id, 'restatement'::text, r.ticker, r.run_date, r.simulation_id, r.horizon, r.target_session,
       r.bar_recorded_at, r.actual, r.restated_actual, r.detected_at
from (select event_id, version, ticker, run_date, simulation_id, horizon::text as horizon, vintage, leaf
      from ledger_event where event = 'restatement') e
full join (
    select ticker, run_date, simulation_id, horizon::text as horizon, target_session, bar_recorded_at, actual,
           restated_actual, detected_at
    from restated_actual
) r on (r.ticker, r.run_date, r.simulation_id, r.horizon, r.bar_recorded_at)
    = (e.ticker, e.run_date, e.simulation_id, e.horizon, e.vintage);

-- name: hashed_promotions
select e.leaf, e.version::bigint, coalesce(e.ticker, c.ticker), null::date, 0::bigint, null::text, c.ticker is not null,
       e.event_id, 'promotion'::text, c.ticker, c.checkpoint_id, c.version, c.trained_on, c.architecture_sha256,
       c.recipe_sha256, c.data_sha256, c.file_sha256, c.activated_at
from (select event_id, version, ticker, checkpoint_id, leaf from ledger_event where event = 'promotion') e
full join (select * from checkpoint where status <> 'candidate' or activated_at is not null) c
    on (c.checkpoint_id, c.ticker) = (e.checkpoint_id, e.ticker);

-- name: hashed_retirements
select e.leaf, e.version::bigint, coalesce(e.ticker, c.ticker), null::date, 0::bigint, null::text, c.ticker is not null,
       e.event_id, 'retirement'::text, c.ticker, c.checkpoint_id, c.version, c.retired_at
from (select event_id, version, ticker, checkpoint_id, leaf from ledger_event where event = 'retirement') e
full join (select * from checkpoint where status = 'retired' or retired_at is not null) c
    on (c.checkpoint_id, c.ticker) = (e.checkpoint_id, e.ticker);

-- name: hashed_service_entries
select e.leaf, e.version::bigint, coalesce(e.ticker, t.ticker), null::date, 0::bigint, null::text, t.ticker is not null,
       e.event_id, 'service'::text, t.ticker, t.first_session, t.verdict_id, t.entered_at
from (select event_id, version, ticker, leaf from ledger_event where event = 'service') e
full join service_entry t on t.ticker = e.ticker;

-- name: hashed_simulations
select e.leaf, e.version::bigint, null::text, null::date, coalesce(e.simulation_id, t.simulation_id), null::text,
       t.simulation_id is not null,
       e.event_id, 'simulation'::text, null::text, t.simulation_id, t.started_at, t.origin, t.first_session,
       t.last_session, t.retrain_every::bigint, t.settings_sha256, pg_catalog.array_to_string(t.tickers, ',')
from (select event_id, version, simulation_id, leaf from ledger_event where event = 'simulation') e
full join simulation t on t.simulation_id = e.simulation_id;

-- name: hashed_configurations
select e.leaf, e.version::bigint, null::text, null::date, coalesce(e.subject_id, c.configuration_id), null::text,
       c.configuration_id is not null,
       e.event_id, 'configuration'::text, null::text, c.configuration_id, c.installation_id::text,
       pg_catalog.array_to_string(c.tickers, ','), c.retired::text, c.settings_sha256, c.recorded_at
from (select event_id, version, subject_id, leaf from ledger_event where event = 'configuration') e
full join configuration c on c.configuration_id = e.subject_id;

-- name: configurations
select configuration_id, event_id, installation_id::text, tickers, retired, settings, settings_sha256, recorded_at
from configuration left join ledger_event on event = 'configuration' and subject_id = configuration_id
order by configuration_id;

-- name: service
select ticker, first_session from service_entry order by ticker;

-- name: verdicts
-- Verdicts with the leaf of their event, from the first one that has an event on; earlier ones have none.
select e.leaf, e.version::bigint, e.event_id, coalesce(e.ticker, v.ticker) as of_ticker,
       coalesce(e.subject_id, v.verdict_id) as of_number, v.ticker, v.verdict_id, v.trained_on, v.checkpoint_id,
       v.backtest_id, v.configuration_id, v.passed, v.rules::text, v.evidence::text, v.multiple_testing::text, v.decided_at
from (select event_id, version, ticker, subject_id, leaf from ledger_event where event = 'verdict') e
full join (
    select * from gate_verdict where verdict_id >= (select min(subject_id) from ledger_event where event = 'verdict')
) v on (v.verdict_id, v.ticker) = (e.subject_id, e.ticker);

-- name: leaks_of_checkpoints
select checkpoint_id, leaks from checkpoint where checkpoint_id = any (%(checkpoint_ids)s::bigint[]) and leaks is not null;

-- name: hashed_lifecycle_actions
-- Actions from the first one that has an event on; earlier ones have none.
select e.leaf, e.version::bigint, coalesce(e.ticker, a.ticker), null::date, coalesce(e.subject_id, a.action_id), null::text,
       a.action_id is not null,
       e.event_id, 'lifecycle'::text, a.ticker, a.action_id, a.action, a.checkpoint_id, a.requested_by,
       a.database_role::text, a.why, a.recorded_at
from (select event_id, version, ticker, subject_id, leaf from ledger_event where event = 'lifecycle') e
full join (
    select * from lifecycle_action
    where action_id >= (select min(subject_id) from ledger_event where event = 'lifecycle')
) a on (a.action_id, a.ticker) = (e.subject_id, e.ticker);

-- name: bars
-- Every vintage of every bar that an actual can come from.
select ticker, session, recorded_at, close from bar
where session >= (select min(next_day_session) from snapshot where next_day_actual is not null
                                                                or next_monday_actual is not null
                                                                or one_month_actual is not null);

-- name: splits
select ticker, session, split_id, recorded_at, ratio from split;

-- name: unknown_events
select event_id, event, ticker, run_date, coalesce(subject_id, simulation_id)
from ledger_event
where event is null or event not in ('forecast', 'fill', 'void', 'restatement', 'promotion', 'retirement',
                                      'service', 'simulation', 'configuration', 'verdict', 'lifecycle')
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
    union all select 'configuration', count(*) from configuration
    union all
    select 'verdict', count(*) from gate_verdict
    where verdict_id >= (select min(subject_id) from ledger_event where event = 'verdict')
    union all
    select 'lifecycle', count(*) from lifecycle_action
    where action_id >= (select min(subject_id) from ledger_event where event = 'lifecycle')
) subject
left join counted using (event);

-- name: duplicates
select max(event_id), event, ticker, run_date, horizon::text, coalesce(subject_id, simulation_id)
from ledger_event
group by event, ticker, run_date, simulation_id, horizon, vintage, checkpoint_id, subject_id
having count(*) > 1
order by max(event_id)
limit 100;

-- name: surroundings
-- Objects and settings of the schema that could change the result of the checks; each finding completes a sentence.
with chained as (
    select c.oid, c.relname, c.relkind, c.relrowsecurity, c.relhasrules
    from unnest(array['snapshot', 'checkpoint', 'voided_fill', 'restated_actual', 'ledger_event', 'ledger_seal',
                      'trading_session', 'service_entry', 'simulation', 'configuration', 'gate_verdict',
                      'lifecycle_action']) as t (name)
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
-- compilation; texts are sent as the bytes that are hashed.
select set_config('work_mem', %(work_mem)s, true), set_config('jit', 'off', true),
       set_config('client_encoding', 'UTF8', true);
