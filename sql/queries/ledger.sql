-- name: run_dates_of
-- Run dates of one simulation, or of daily runs and all simulations for 0.
select count(*), min(run_date), max(run_date)
from snapshot
where ticker = %(ticker)s and (simulation_id = %(simulation_id)s or %(simulation_id)s = 0);

-- name: counted_forecasts
-- The forecasts that the leaderboard counts, by the rule of accuracy_30d: the newest 30 filled of every ticker.
select f.ticker, f.run_date, f.next_day_direction_correct as is_correct, f.run_date_close, f.next_day_pred,
       f.next_day_actual
from (select distinct snapshot.ticker from snapshot) known
cross join lateral (
    select * from snapshot
    where snapshot.ticker = known.ticker and snapshot.kind = %(kind)s and snapshot.simulation_id = %(simulation_id)s
      and snapshot.next_day_actual is not null
    order by snapshot.run_date desc limit 30
) f
order by f.run_date, f.ticker;

-- name: live_records_of_active
-- Every active model with its filled live forecasts in the order of their run dates; errors in percent.
select c.ticker, c.version, c.checkpoint_id,
       r.run_dates, r.errors, r.called_on, r.is_right,
       wilson_low(r.num_correct, r.num_directional) as accuracy_low,
       wilson_high(r.num_correct, r.num_directional) as accuracy_high
from checkpoint c
cross join lateral (
    select coalesce(array_agg(s.run_date order by s.run_date), '{}') as run_dates,
           coalesce(array_agg(abs(s.next_day_pct_error) order by s.run_date), '{}') as errors,
           coalesce(array_agg(s.run_date order by s.run_date)
                    filter (where s.next_day_direction_correct is not null), '{}') as called_on,
           coalesce(array_agg(s.next_day_direction_correct order by s.run_date)
                    filter (where s.next_day_direction_correct is not null), '{}') as is_right,
           count(*) filter (where s.next_day_direction_correct) as num_correct,
           count(s.next_day_direction_correct) as num_directional
    from snapshot s
    where s.checkpoint_id = c.checkpoint_id and s.kind = 'live' and s.next_day_actual is not null
) r
where c.status = 'active'
order by c.ticker;

-- name: interval_scores
-- Scores of intervals by ticker, horizon and level; ticker NULL: all tickers. Widths and scores are in percent of the
-- close. A relative width is divided by the width for a no-change forecast with normal log returns of the window's
-- volatility: 2 z volatility sqrt(sessions), where z is the 0.9 or the 0.975 quantile of the normal distribution.
with place as (
    select session, row_number() over (order by session) as number from trading_session
), beside as (
    select s.ticker, f.place, f.horizon, f.level, f.actual, f.low, f.high, s.run_date_close as close,
           s.volatility * sqrt(target.number - made.number) as reach
    from snapshot s
    cross join lateral (values
        (1, 'next_day', 0.80::double precision, s.next_day_session, s.next_day_actual, s.next_day_low_80, s.next_day_high_80),
        (1, 'next_day', 0.95::double precision, s.next_day_session, s.next_day_actual, s.next_day_low_95, s.next_day_high_95),
        (2, 'next_monday', 0.80::double precision, s.next_monday_session, s.next_monday_actual, s.next_monday_low_80, s.next_monday_high_80),
        (2, 'next_monday', 0.95::double precision, s.next_monday_session, s.next_monday_actual, s.next_monday_low_95, s.next_monday_high_95),
        (3, 'one_month', 0.80::double precision, s.one_month_session, s.one_month_actual, s.one_month_low_80, s.one_month_high_80),
        (3, 'one_month', 0.95::double precision, s.one_month_session, s.one_month_actual, s.one_month_low_95, s.one_month_high_95)
    ) f (place, horizon, level, target_session, actual, low, high)
    join place made on made.session = s.run_date
    join place target on target.session = f.target_session
    where s.kind = %(kind)s and s.simulation_id = %(simulation_id)s and f.actual is not null
), scored as (
    select ticker, place, horizon, level, low is not null as has_interval,
           actual between low and high as is_inside,
           100 * (high - low) / close as width,
           (high - low) / (2 * close * nullif(reach, 0)
               * case level when 0.80 then 1.2815515655446004 else 1.959963984540054 end) as relative_width,
           100 * (high - low + 2 / (1 - level) * (greatest(low - actual, 0) + greatest(actual - high, 0))) / close as score
    from beside
)
select ticker, horizon, level,
       count(*) as num_filled,
       count(*) filter (where has_interval) as num_intervals,
       count(*) filter (where is_inside) as num_inside,
       count(*) filter (where is_inside)::double precision / nullif(count(*) filter (where has_interval), 0) as coverage,
       wilson_low(count(*) filter (where is_inside), count(*) filter (where has_interval)) as coverage_low,
       wilson_high(count(*) filter (where is_inside), count(*) filter (where has_interval)) as coverage_high,
       avg(width) as width, avg(relative_width) as relative_width,
       avg(score) filter (where has_interval) as interval_score
from scored
group by grouping sets ((ticker, place, horizon, level), (place, horizon, level))
order by ticker is null, ticker, place, level;

-- name: interval_outcomes
-- For live forecasts of one year, true if an actual is inside its interval, by ticker and horizon in the order of run
-- dates; NULL if there was no interval. Days are since 2000-01-01. The year is that of the newest live forecast.
with newest as (
    select max(run_date) as run_date from snapshot where simulation_id = 0 and kind = 'live'
)
select s.ticker, f.horizon,
       array_agg(s.run_date - date '2000-01-01' order by s.run_date) as run_dates,
       array_agg(f.target_session - date '2000-01-01' order by s.run_date) as targets,
       array_agg(f.actual between f.low_80 and f.high_80 order by s.run_date) as inside_80,
       array_agg(f.actual between f.low_95 and f.high_95 order by s.run_date) as inside_95
from newest
join snapshot s on s.simulation_id = 0 and s.kind = 'live' and s.run_date >= date_trunc('year', newest.run_date)::date
cross join lateral (values
    (1, 'next_day', s.next_day_session, s.next_day_actual,
     s.next_day_low_80, s.next_day_high_80, s.next_day_low_95, s.next_day_high_95),
    (2, 'next_monday', s.next_monday_session, s.next_monday_actual,
     s.next_monday_low_80, s.next_monday_high_80, s.next_monday_low_95, s.next_monday_high_95),
    (3, 'one_month', s.one_month_session, s.one_month_actual,
     s.one_month_low_80, s.one_month_high_80, s.one_month_low_95, s.one_month_high_95)
) f (place, horizon, target_session, actual, low_80, high_80, low_95, high_95)
where f.actual is not null and (f.low_80 is not null or f.low_95 is not null)
group by s.ticker, f.place, f.horizon
order by s.ticker, f.place;

-- name: due_fills
select ticker, run_date, simulation_id, horizon, target_session, pred, actual is not null as bar_is_there, actual
from open_fill
where has_closed and target_session <= %(as_of)s
  and (%(tickers)s::text[] is null or ticker = any (%(tickers)s::text[]))
order by ticker, run_date, simulation_id, target_session, horizon;

-- name: fill
-- The trigger snapshot_is_written_once computes errors, directions and filled_at from the actuals.
update snapshot
set next_day_actual = coalesce(snapshot.next_day_actual, found.next_day),
    next_monday_actual = coalesce(snapshot.next_monday_actual, found.next_monday),
    one_month_actual = coalesce(snapshot.one_month_actual, found.one_month)
from (
    select ticker, run_date, simulation_id,
           max(actual) filter (where horizon = 'next_day') as next_day,
           max(actual) filter (where horizon = 'next_monday') as next_monday,
           max(actual) filter (where horizon = 'one_month') as one_month
    from open_fill
    where has_closed and target_session <= %(as_of)s and actual is not null
      and (%(tickers)s::text[] is null or ticker = any (%(tickers)s::text[]))
    group by ticker, run_date, simulation_id
) found
where (snapshot.ticker, snapshot.run_date, snapshot.simulation_id) = (found.ticker, found.run_date, found.simulation_id)
returning snapshot.ticker, snapshot.next_day_direction_correct,
          found.next_day is not null, found.next_monday is not null, found.one_month is not null;

-- name: record_overdue
insert into overdue_fill (ticker, run_date, simulation_id, horizon)
select ticker, run_date, simulation_id, horizon
from open_fill
where has_closed and actual is null and target_session <= %(as_of)s
  and (%(tickers)s::text[] is null or ticker = any (%(tickers)s::text[]))
on conflict do nothing;

-- name: void_overdue
-- Only sessions with stored bars count as waited for: an outage of the source voids nothing.
with overdue as (
    select o.ticker, o.run_date, o.simulation_id, o.horizon, f.target_session, o.detected_at
    from overdue_fill o
    join open_fill f on (f.ticker, f.run_date, f.simulation_id, f.horizon)
        = (o.ticker, o.run_date, o.simulation_id, o.horizon::text)
    where f.has_closed and f.actual is null and f.target_session <= %(as_of)s
      and (%(tickers)s::text[] is null or f.ticker = any (%(tickers)s::text[]))
), delivered as (
    select distinct t.session, t.opens_at
    from bar join trading_session t on t.session = bar.session and bar.recorded_at >= t.closes_at
    where bar.recorded_at >= (select min(detected_at) from overdue)
), waited as (
    select overdue.*, (select count(*) from delivered where opens_at > detected_at) as num_sessions,
           (select max(session) from bar where bar.ticker = overdue.ticker) as newest
    from overdue
)
insert into voided_fill (ticker, run_date, simulation_id, horizon, reason, wait_sessions)
select ticker, run_date, simulation_id, horizon,
       case when newest > target_session
            then format('did not trade on %%s: it has later bars, and none of that session after %%s sessions',
                        target_session, num_sessions)
            when newest is not null
            then format('halted or delisted: its newest bar is of %%s, and none came in %%s sessions', newest, num_sessions)
            else format('has no bar at all, and none came in %%s sessions', num_sessions) end,
       %(wait_sessions)s
from waited
where num_sessions >= %(wait_sessions)s
order by ticker, run_date, simulation_id, horizon
returning ticker, run_date, horizon, target_session, reason;

-- name: restate
-- Compares bars recorded since the last scan, and one hour before it, for transactions that were committed after it. A
-- vintage restates an actual if it differs from the actual on record, or from the last restatement where there is one.
with since as (
    select coalesce(max(scanned_until), '-infinity') - interval '1 hour' as moment from restatement_scan
), scanned as (
    insert into restatement_scan default values returning scanned_until
), changed as (
    select bar.ticker, bar.session, bar.recorded_at, bar.close
    from bar, since
    where bar.recorded_at > since.moment
      and not exists (
          select from bar newer
          where newer.ticker = bar.ticker and newer.session = bar.session and newer.recorded_at > bar.recorded_at)
), settled as (
    select s.ticker, s.run_date, s.simulation_id, s.bars_recorded_until, f.horizon, f.target_session, f.actual, f.settled_at,
           changed.recorded_at, changed.close
    from changed
    join trading_session t on t.session = changed.session and changed.recorded_at >= t.closes_at
    join snapshot s on s.ticker = changed.ticker
        and s.run_date < changed.session and s.run_date >= changed.session - 45
    cross join lateral (
        select f.horizon, f.target_session, f.actual, f.filled_at as settled_at from fills_of(s) f
        union all
        select v.horizon::text, v.target_session, null, v.voided_at from voided_fill v
        where v.ticker = s.ticker and v.run_date = s.run_date and v.simulation_id = s.simulation_id
    ) f
    where f.target_session = changed.session and changed.recorded_at > f.settled_at - interval '1 hour'
)
insert into restated_actual (ticker, run_date, simulation_id, horizon, bar_recorded_at)
select settled.ticker, settled.run_date, settled.simulation_id, settled.horizon, settled.recorded_at
from settled
left join lateral (
    select restated_actual from restated_actual r
    where r.ticker = settled.ticker and r.run_date = settled.run_date and r.simulation_id = settled.simulation_id
      and r.horizon = settled.horizon
    order by r.bar_recorded_at desc limit 1
) earlier on true
cross join lateral (
    select settled.close * (
        select product(split.ratio order by split.session) from split
        where split.ticker = settled.ticker and split.session > settled.run_date
          and split.recorded_at > settled.bars_recorded_until) as value
) now
where coalesce(earlier.restated_actual, settled.actual) is null
   or abs(now.value - coalesce(earlier.restated_actual, settled.actual)) > 1e-9 * now.value
order by settled.ticker, settled.run_date, settled.simulation_id, settled.horizon
on conflict do nothing
returning ticker, run_date, horizon, target_session, actual, restated_actual, bar_recorded_at;

-- name: open_fills
select ticker,
       count(*) filter (where horizon = 'next_day' and not is_due) as num_open_next_day,
       count(*) filter (where horizon = 'next_monday' and not is_due) as num_open_next_monday,
       count(*) filter (where horizon = 'one_month' and not is_due) as num_open_one_month,
       count(*) filter (where horizon = 'next_day' and is_due) as num_without_bar_next_day,
       count(*) filter (where horizon = 'next_monday' and is_due) as num_without_bar_next_monday,
       count(*) filter (where horizon = 'one_month' and is_due) as num_without_bar_one_month
from (
    select ticker, horizon, has_closed and target_session <= %(as_of)s as is_due
    from open_fill
    where %(tickers)s::text[] is null or ticker = any (%(tickers)s::text[])
) still_open
group by ticker;

-- name: horizon_states
select s.ticker, f.horizon, f.target_session,
       case
           when s.abstained_reason is not null then 'abstained'
           when f.actual is not null then 'filled'
           when v.ticker is not null then 'voided'
           when t.closes_at <= clock_timestamp() then 'waiting for its bar'
           else 'open'
       end as state
from snapshot s
cross join lateral (values
    (1, 'next_day', s.next_day_session, s.next_day_actual),
    (2, 'next_monday', s.next_monday_session, s.next_monday_actual),
    (3, 'one_month', s.one_month_session, s.one_month_actual)) f (place, horizon, target_session, actual)
left join trading_session t on t.session = f.target_session
left join voided_fill v on v.ticker = s.ticker and v.run_date = s.run_date and v.simulation_id = s.simulation_id
    and v.horizon = f.horizon
where s.run_date = %(run_date)s and s.ticker = any (%(tickers)s::text[]) and s.simulation_id = 0
order by s.ticker, f.place;

-- name: restated_actuals
select ticker, run_date, horizon, target_session, actual, restated_actual, bar_recorded_at
from restated_actual
where %(tickers)s::text[] is null or ticker = any (%(tickers)s::text[])
order by ticker, run_date, target_session, horizon, bar_recorded_at;

-- name: forecasters
-- The forecaster of each ticker. A model that was trained on later sessions is returned only when there is no other, so
-- that the abstention can name it. Once the next session has opened, a model that was retired since may forecast a run
-- date for which the active model was trained too late.
--
-- A simulation with models of its own uses these alone, under the status that they would have had; they have no version.
with registered as (
    select c.*
    from checkpoint c
    where c.ticker = any (%(tickers)s::text[])
      and (c.status = 'active'
           or (c.status = 'candidate' and %(allow_candidates)s)
           or (c.status = 'retired' and (%(simulation_id)s > 0 or clock_timestamp() >= (
               select opens_at from trading_session where session > %(run_date)s order by session limit 1))))
      and not exists (
          select from simulation_model m where m.simulation_id = %(simulation_id)s and m.ticker = c.ticker)
), simulated as (
    select c.*, case when m.passed then 'active' else 'candidate' end as simulated_status
    from simulation_model m
    join checkpoint c using (checkpoint_id)
    where m.simulation_id = %(simulation_id)s and m.ticker = any (%(tickers)s::text[])
      and m.first_session <= %(run_date)s and (m.passed or %(allow_candidates)s)
)
select distinct on (ticker)
    ticker, checkpoint_id, status, version, trained_on, file_name, file_sha256,
    trained_on <= %(trained_until)s as in_time
from (
    select ticker, checkpoint_id, status, version, trained_on, file_name, file_sha256, file_removed_at from registered
    union all
    select ticker, checkpoint_id, simulated_status, null, trained_on, file_name, file_sha256, file_removed_at
    from simulated
) c
where file_removed_at is null
order by ticker, in_time desc, case status when 'active' then 1 when 'retired' then 2 else 3 end,
         trained_on desc, checkpoint_id desc;

-- name: forecaster_on_record
select ticker, checkpoint_id, status, version, trained_on, file_name, file_sha256,
       trained_on <= %(trained_until)s as in_time
from checkpoint
where checkpoint_id = %(checkpoint_id)s;

-- name: leaderboard
-- Every ticker of the ledger, ranked tickers first; the row without a ticker is the universe. The verdicts are those of
-- the simulation where it has models of its own.
with known as (
    select ticker from (select distinct ticker from snapshot) tickers
    union all
    select null
), verdict as (
    (select distinct on (ticker) ticker, passed,
            array(select rule ->> 'reason' from jsonb_array_elements(rules) with ordinality as r (rule, place)
                  where not (rule ->> 'passed')::boolean order by place) as failed_reasons
     from gate_verdict
     where not exists (select from simulation_model where simulation_id = %(simulation_id)s)
     order by ticker, verdict_id desc)
    union all
    (select distinct on (ticker) ticker, passed, reasons from simulation_model
     where simulation_id = %(simulation_id)s
     order by ticker, first_session desc)
)
select known.ticker, board.rank,
       coalesce(board.num_filled, 0) as num_filled,
       coalesce(board.num_directional, 0) as num_directional,
       coalesce(board.num_correct, 0) as num_correct,
       board.first_run_date, board.last_run_date,
       board.direction_accuracy, board.accuracy_low, board.accuracy_high, board.coverage,
       board.next_day_error, board.next_day_no_change_error,
       coalesce(board.num_next_monday, 0) as num_next_monday,
       board.next_monday_error, board.next_monday_no_change_error,
       coalesce(board.num_one_month, 0) as num_one_month,
       board.one_month_error, board.one_month_no_change_error,
       verdict.passed as gate_passed,
       coalesce(verdict.failed_reasons, '{}') as gate_reasons,
       latest.model_status, latest.model_version, latest.trained_on, active.version as active_version
from known
left join accuracy_30d(%(kind)s, %(simulation_id)s) board on board.ticker is not distinct from known.ticker
left join verdict on verdict.ticker = known.ticker
left join lateral (
    select snapshot.model_status, snapshot.model_version, checkpoint.trained_on
    from snapshot left join checkpoint using (checkpoint_id)
    where snapshot.ticker = known.ticker and snapshot.kind = %(kind)s and snapshot.simulation_id = %(simulation_id)s
      and abstained_reason is null
    order by (next_day_actual is not null) desc, run_date desc
    limit 1) latest on true
left join checkpoint active on active.ticker = known.ticker and active.status = 'active'
order by known.ticker is null, board.rank nulls last, known.ticker;

-- name: tickers_with_open_fills
select distinct ticker
from snapshot
where abstained_reason is null
  and (next_day_actual is null or next_monday_actual is null or one_month_actual is null)
  and ticker = any (%(tickers)s);

-- name: shadow_forecasters
-- For each ticker with a row: its newest candidate, if it is newer than the row's model (or, without one, than the
-- active model), and the model that was retired last. Networks must be trained in time and differ in content from the
-- row's and the active model's: a restored model has two rows in the registry.
with asked as (
    select s.ticker, s.checkpoint_sha256, s.window_sha256, s.bars_recorded_until, active.file_sha256 as active_sha256,
           newest.trained_on, newest.checkpoint_id, time.trained_until
    from snapshot s
    cross join (select %(run_date)s::date - (%(simulation_id)s > 0)::integer as trained_until) time
    left join checkpoint active on active.ticker = s.ticker and active.status = 'active'
    left join lateral (
        select c.trained_on, c.checkpoint_id from checkpoint c
        where c.checkpoint_id in (s.checkpoint_id, active.checkpoint_id)
          and c.status <> 'candidate' and c.trained_on <= time.trained_until
        order by c.checkpoint_id = s.checkpoint_id desc nulls last limit 1
    ) newest on true
    where s.run_date = %(run_date)s and s.ticker = any (%(tickers)s::text[]) and s.simulation_id = %(simulation_id)s
), candidates as (
    select distinct on (ticker) c.*
    from asked join checkpoint c using (ticker)
    where c.status = 'candidate' and c.trained_on <= asked.trained_until
    order by ticker, c.trained_on desc, c.checkpoint_id desc
), retired as (
    select distinct on (ticker) c.*
    from asked join checkpoint c using (ticker)
    where c.status = 'retired' and c.trained_on <= asked.trained_until
      and c.file_sha256 is distinct from asked.checkpoint_sha256
      and c.file_sha256 is distinct from asked.active_sha256
    order by ticker, c.retired_at desc, c.checkpoint_id desc
)
select ticker, c.checkpoint_id, c.status, c.version, c.trained_on, c.file_name, c.file_sha256, true as in_time,
       c.file_removed_at is not null as is_removed, asked.window_sha256, asked.bars_recorded_until
from (select * from candidates union all select * from retired) c
join asked using (ticker)
where c.status = any (%(statuses)s::text[])
  and c.file_sha256 is distinct from asked.checkpoint_sha256
  and c.file_sha256 is distinct from asked.active_sha256
  and (c.status = 'retired' or asked.checkpoint_id is null
       or (c.trained_on, c.checkpoint_id) > (asked.trained_on, asked.checkpoint_id))
order by ticker, c.status;

-- name: shadow_records
-- Results of the shadows of every checkpoint, and of the forecasts on record of the same run dates. The shadow of a
-- live row counts only if it was recorded before the first target session opened.
select r.ticker, r.checkpoint_id, c.status, c.version, c.file_sha256, c.trained_on, r.num_shadows,
       r.first_run_date, r.last_run_date, r.num_filled, r.num_directional, r.num_correct,
       r.num_correct::double precision / nullif(r.num_directional, 0) as direction_accuracy,
       wilson_low(r.num_correct, r.num_directional) as accuracy_low,
       wilson_high(r.num_correct, r.num_directional) as accuracy_high,
       r.num_directional::double precision / nullif(r.num_filled, 0) as coverage,
       r.next_day_error, r.next_day_no_change_error,
       r.num_next_monday, r.next_monday_error, r.next_monday_no_change_error,
       r.num_one_month, r.one_month_error, r.one_month_no_change_error,
       r.num_beside, r.error_beside, r.error_on_record
from (
    select f.ticker, f.checkpoint_id,
           count(*) as num_shadows,
           min(f.run_date) filter (where f.next_day_actual is not null) as first_run_date,
           max(f.run_date) filter (where f.next_day_actual is not null) as last_run_date,
           count(f.next_day_actual) as num_filled,
           count(f.next_day_direction_correct) as num_directional,
           count(*) filter (where f.next_day_direction_correct) as num_correct,
           avg(abs(f.next_day_pct_error)) as next_day_error,
           avg(abs(pct_error(f.run_date_close, f.next_day_actual))) as next_day_no_change_error,
           count(f.next_monday_actual) as num_next_monday,
           avg(abs(f.next_monday_pct_error)) as next_monday_error,
           avg(abs(pct_error(f.run_date_close, f.next_monday_actual))) as next_monday_no_change_error,
           count(f.one_month_actual) as num_one_month,
           avg(abs(f.one_month_pct_error)) as one_month_error,
           avg(abs(pct_error(f.run_date_close, f.one_month_actual))) as one_month_no_change_error,
           count(*) filter (where s.next_day_actual is not null) as num_beside,
           avg(abs(f.next_day_pct_error)) filter (where s.next_day_actual is not null) as error_beside,
           avg(abs(s.next_day_pct_error)) as error_on_record
    from shadow_record f
    join snapshot s on (s.ticker, s.run_date, s.simulation_id) = (f.ticker, f.run_date, f.simulation_id)
    where f.kind = %(kind)s and f.simulation_id = %(simulation_id)s and (f.in_time or f.kind = 'simulated')
    group by f.ticker, f.checkpoint_id
) r
join checkpoint c using (checkpoint_id)
order by r.ticker, r.checkpoint_id desc;

-- name: record_shadows
insert into shadow_forecast (
    ticker, run_date, simulation_id, checkpoint_id, model_status, recorded_at, run_date_close, next_day_pred,
    next_monday_pred, one_month_pred, direction_pred, window_sha256, bars_recorded_until)
select ticker, %(run_date)s, %(simulation_id)s, checkpoint_id, model_status, clock_timestamp(), run_date_close, next_day_pred,
       next_monday_pred, one_month_pred, direction_pred, window_sha256, bars_recorded_until
from unnest(%(ticker)s::text[], %(checkpoint_id)s::bigint[], %(model_status)s::text[], %(run_date_close)s::float8[],
            %(next_day_pred)s::float8[], %(next_monday_pred)s::float8[], %(one_month_pred)s::float8[],
            %(direction_pred)s::text[], %(window_sha256)s::text[], %(bars_recorded_until)s::timestamptz[])
    as draft (ticker, checkpoint_id, model_status, run_date_close, next_day_pred, next_monday_pred, one_month_pred,
              direction_pred, window_sha256, bars_recorded_until)
order by ticker, checkpoint_id
on conflict (ticker, run_date, simulation_id, checkpoint_id) do nothing;

-- name: missing_rows
select ticker, run_date
from unnest(%(tickers)s::text[], %(run_dates)s::date[]) as expected (ticker, run_date)
where not exists (
    select from snapshot
    where snapshot.ticker = expected.ticker and snapshot.run_date = expected.run_date
      and snapshot.simulation_id = %(simulation_id)s)
order by run_date, ticker;

-- name: record_snapshots
-- The database decides the kind: simulated for a row of a simulation, else live or late by its clock.
insert into snapshot (
    ticker, run_date, simulation_id, kind, next_day_session, next_monday_session, one_month_session, run_date_close,
    next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason,
    checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256, bars_recorded_until,
    volatility, neutral_band, next_day_low_80, next_day_high_80, next_day_low_95, next_day_high_95,
    next_monday_low_80, next_monday_high_80, next_monday_low_95, next_monday_high_95, one_month_low_80,
    one_month_high_80, one_month_low_95, one_month_high_95, backend,
    recorded_at)
select ticker, %(run_date)s, %(simulation_id)s, 'late', %(next_day_session)s, %(next_monday_session)s, %(one_month_session)s,
       run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason,
       checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256, bars_recorded_until,
       volatility, neutral_band, next_day_low_80, next_day_high_80, next_day_low_95, next_day_high_95,
       next_monday_low_80, next_monday_high_80, next_monday_low_95, next_monday_high_95, one_month_low_80,
       one_month_high_80, one_month_low_95, one_month_high_95, backend,
       clock_timestamp()
from unnest(%(ticker)s::text[], %(run_date_close)s::float8[], %(next_day_pred)s::float8[],
            %(next_monday_pred)s::float8[], %(one_month_pred)s::float8[], %(direction_pred)s::text[],
            %(abstained_reason)s::text[], %(checkpoint_id)s::bigint[], %(model_version)s::text[],
            %(model_status)s::text[], %(checkpoint_sha256)s::text[], %(window_sha256)s::text[],
            %(bars_recorded_until)s::timestamptz[],
            %(volatility)s::float8[], %(neutral_band)s::float8[], %(next_day_low_80)s::float8[],
            %(next_day_high_80)s::float8[], %(next_day_low_95)s::float8[], %(next_day_high_95)s::float8[],
            %(next_monday_low_80)s::float8[], %(next_monday_high_80)s::float8[], %(next_monday_low_95)s::float8[],
            %(next_monday_high_95)s::float8[], %(one_month_low_80)s::float8[], %(one_month_high_80)s::float8[],
            %(one_month_low_95)s::float8[], %(one_month_high_95)s::float8[],
            %(backend)s::text[])
    as draft (ticker, run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred,
              abstained_reason, checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256,
              bars_recorded_until,
              volatility, neutral_band, next_day_low_80, next_day_high_80, next_day_low_95, next_day_high_95,
              next_monday_low_80, next_monday_high_80, next_monday_low_95, next_monday_high_95, one_month_low_80,
              one_month_high_80, one_month_low_95, one_month_high_95, backend)
order by ticker
on conflict (ticker, run_date, simulation_id) do nothing
returning ticker;

-- name: snapshots
select ticker, run_date, kind, simulation_id, recorded_at, next_day_session, next_monday_session, one_month_session, run_date_close,
       next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason,
       checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256, bars_recorded_until,
       volatility, neutral_band, next_day_low_80, next_day_high_80, next_day_low_95, next_day_high_95,
       next_monday_low_80, next_monday_high_80, next_monday_low_95, next_monday_high_95, one_month_low_80,
       one_month_high_80, one_month_low_95, one_month_high_95, backend
from snapshot
where run_date = %(run_date)s and ticker = any (%(tickers)s::text[]) and simulation_id = %(simulation_id)s
order by array_position(%(tickers)s::text[], ticker);

-- name: daily_directions
-- The number of directions forecast, and correct, on each run date that has a filled forecast.
select run_date, count(next_day_direction_correct) as num_directional,
       count(*) filter (where next_day_direction_correct) as num_correct
from snapshot
where kind = %(kind)s and simulation_id = %(simulation_id)s and next_day_actual is not null
group by run_date
order by run_date;

-- name: recorded_forecasts
-- Rows of one run date, of one ticker, or of both, the newest first: those of daily runs and of the newest simulation.
select s.ticker, s.run_date, s.kind, s.simulation_id, s.recorded_at, t.opens_at as deadline, s.run_date_close,
       s.next_day_session, s.next_day_pred, s.next_day_actual,
       s.next_monday_session, s.next_monday_pred, s.next_monday_actual,
       s.one_month_session, s.one_month_pred, s.one_month_actual,
       s.direction_pred, s.model_version, s.model_status, s.abstained_reason,
       s.volatility, s.neutral_band, s.next_day_low_80, s.next_day_high_80, s.next_day_low_95, s.next_day_high_95,
       s.next_monday_low_80, s.next_monday_high_80, s.next_monday_low_95, s.next_monday_high_95, s.one_month_low_80,
       s.one_month_high_80, s.one_month_low_95, s.one_month_high_95, s.backend
from snapshot s
join trading_session t on t.session = s.next_day_session
where (%(run_date)s::date is null or s.run_date = %(run_date)s)
  and (%(ticker)s::text is null or s.ticker = %(ticker)s)
  and s.simulation_id in (0, (select max(simulation_id) from snapshot where simulation_id > 0))
order by s.run_date desc, s.ticker, s.simulation_id
limit %(num_rows)s;

-- name: newest_run_date
-- The newest run date of daily runs; before the first one, that of the newest simulation.
select coalesce(
    (select max(run_date) from snapshot where simulation_id = 0),
    (select max(run_date) from snapshot
     where simulation_id > 0
       and simulation_id = (select max(simulation_id) from snapshot where simulation_id > 0)));

-- name: residuals_of_backtests
-- The scores of the forecasts of each checkpoint's newest backtest that was on record at a moment, packed by session: days
-- since 2000-01-01 as a big-endian int4, then three float8. A row without volatility has no score.
select c.checkpoint_id, p.last_session, coalesce(p.packed, ''::bytea) as packed
from checkpoint c
cross join lateral (
    select backtest_id from backtest b
    where (b.ticker, b.architecture_sha256, b.recipe_sha256, b.data_sha256, b.trained_on)
        = (c.ticker, c.architecture_sha256, c.recipe_sha256, c.data_sha256, c.trained_on)
      and b.created_at <= %(moment)s
    order by b.backtest_id desc limit 1) b
cross join lateral (
    select max(session) as last_session,
           string_agg(
               int4send(session - date '2000-01-01')
               || float8send(abs(next_day_actual - next_day_pred) / (close * volatility))
               || float8send(abs(next_monday_actual - next_monday_pred) / (close * volatility))
               || float8send(abs(one_month_actual - one_month_pred) / (close * volatility)),
               ''::bytea order by session) filter (where volatility > 0) as packed
    from backtest_prediction p
    where p.backtest_id = b.backtest_id) p
where c.checkpoint_id = any (%(checkpoint_ids)s::bigint[]) and p.last_session is not null;

-- name: residuals_on_record
-- Scores of recorded forecasts with run dates after a given session of their ticker and before a given run date, packed by
-- run date: the run date and its three target sessions as int4, then three float8. A score that was not known at a given
-- moment, or whose target session is after the given run date, is NaN.
select s.ticker,
       string_agg(
           int4send(s.run_date - date '2000-01-01')
           || int4send(s.next_day_session - date '2000-01-01')
           || int4send(s.next_monday_session - date '2000-01-01')
           || int4send(s.one_month_session - date '2000-01-01')
           || float8send(case when s.next_day_session <= %(run_date)s and s.next_day_filled_at <= %(moment)s
                         then abs(s.next_day_actual - s.next_day_pred) / (s.run_date_close * s.volatility)
                         else 'nan' end)
           || float8send(case when s.next_monday_session <= %(run_date)s and s.next_monday_filled_at <= %(moment)s
                         then abs(s.next_monday_actual - s.next_monday_pred) / (s.run_date_close * s.volatility)
                         else 'nan' end)
           || float8send(case when s.one_month_session <= %(run_date)s and s.one_month_filled_at <= %(moment)s
                         then abs(s.one_month_actual - s.one_month_pred) / (s.run_date_close * s.volatility)
                         else 'nan' end),
           ''::bytea order by s.run_date) as packed
from unnest(%(tickers)s::text[], %(after)s::date[]) as asked (ticker, after)
join snapshot s on s.ticker = asked.ticker and s.simulation_id = %(simulation_id)s
    and s.run_date > coalesce(asked.after, '-infinity') and s.run_date < %(run_date)s
where s.abstained_reason is null and s.volatility > 0
group by s.ticker;

-- name: simulation_of_row
-- 0 where a daily run recorded the row, else the newest simulation that has one.
select simulation_id from snapshot where ticker = %(ticker)s and run_date = %(run_date)s
order by simulation_id > 0, simulation_id desc limit 1;

-- name: begin_simulation
-- Returns nothing if that origin has a simulation already.
insert into simulation (origin, first_session, last_session, retrain_every, settings_sha256, tickers)
values (%(origin)s, %(first_session)s, %(last_session)s, %(retrain_every)s, %(settings_sha256)s, %(tickers)s)
on conflict (origin) do nothing
returning simulation_id;

-- name: simulation_of_origin
select simulation_id from simulation where origin = %(origin)s;

-- name: simulations
-- Every simulation, the newest first, with the extent of its rows.
select s.simulation_id, s.started_at, s.origin, s.first_session, s.last_session, s.retrain_every, s.settings_sha256,
       s.tickers, r.num_rows, r.first_run_date, r.last_run_date
from simulation s
cross join lateral (
    select count(*) as num_rows, min(run_date) as first_run_date, max(run_date) as last_run_date
    from snapshot where snapshot.simulation_id = s.simulation_id and snapshot.simulation_id > 0) r
order by s.simulation_id desc;

-- name: newest_simulation
-- The newest simulation that has rows, 0 before the first one.
select coalesce(max(simulation_id), 0) from snapshot where simulation_id > 0;

-- name: record_simulation_models
insert into simulation_model (simulation_id, ticker, first_session, checkpoint_id, passed, reasons)
select %(simulation_id)s, ticker, %(first_session)s, checkpoint_id, cardinality(reasons) = 0, reasons
from (
    select ticker, checkpoint_id,
           array(select jsonb_array_elements_text(reasons)) as reasons
    from unnest(%(tickers)s::text[], %(checkpoint_ids)s::bigint[], %(reasons)s::jsonb[]) as m (ticker, checkpoint_id, reasons)
) model
order by ticker
on conflict (simulation_id, ticker, first_session) do nothing;

-- name: judged_in_simulation
-- The tickers with a model, or the reason for having none, for the sessions from a given one on.
select ticker from simulation_model where simulation_id = %(simulation_id)s and first_session = %(first_session)s;

-- name: simulated_rows
-- The number of tickers with a row by run date.
select run_date, count(*) from snapshot
where simulation_id = %(simulation_id)s and simulation_id > 0 and ticker = any (%(tickers)s::text[])
group by run_date order by run_date;

-- name: service_entries
select ticker, first_session from service_entry where ticker = any (%(tickers)s::text[]);

-- name: new_tickers
-- Tickers that are not in service, and whether they have a bar of a session before a given one.
select u.ticker, exists (select from bar where bar.ticker = u.ticker and bar.session <= %(before)s) as has_history
from unnest(%(tickers)s::text[]) with ordinality u (ticker, place)
where not exists (select from service_entry e where e.ticker = u.ticker)
order by u.place;
