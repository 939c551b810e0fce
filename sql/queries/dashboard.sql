-- name: statement_timeout
select set_config('statement_timeout', %(milliseconds)s, true);

-- name: newest_event
-- The number of the newest event, -1 before the first: every change of the record has one.
select coalesce(max(event_id), -1) from ledger_event;

-- name: tickers_on_record
-- One step per ticker along the primary key, instead of a pass over all rows.
with recursive known (ticker) as (
    (select ticker from snapshot order by ticker limit 1)
    union all
    select (select s.ticker from snapshot s where s.ticker > known.ticker order by s.ticker limit 1)
    from known where known.ticker is not null
)
select ticker from known where ticker is not null;

-- name: scores
-- As `ledger.leaderboard`, over a window of any length and, where a version is given, the forecasts of that version alone.
with recursive known (ticker) as (
    (select ticker from snapshot order by ticker limit 1)
    union all
    select (select s.ticker from snapshot s where s.ticker > known.ticker order by s.ticker limit 1)
    from known where known.ticker is not null
), counted as (
    select f.*
    from known
    cross join lateral (
        select * from snapshot
        where snapshot.ticker = known.ticker and snapshot.simulation_id = %(simulation_id)s and snapshot.kind = %(kind)s
          and snapshot.next_day_actual is not null
          and (%(version)s::text is null or snapshot.model_version = %(version)s)
        order by snapshot.run_date desc limit %(num_sessions)s
    ) f
    where known.ticker is not null
), scored as (
    select counted.ticker,
           grouping(counted.ticker) as is_universe,
           min(run_date) as first_run_date, max(run_date) as last_run_date,
           count(*) as num_filled,
           count(next_day_direction_correct) as num_directional,
           count(*) filter (where next_day_direction_correct) as num_correct,
           avg(abs(next_day_pct_error)) as next_day_error,
           avg(abs(pct_error(run_date_close, next_day_actual))) as next_day_no_change_error,
           avg(abs(next_monday_pct_error)) as next_monday_error,
           avg(abs(pct_error(run_date_close, next_monday_actual))) as next_monday_no_change_error,
           avg(abs(one_month_pct_error)) as one_month_error,
           avg(abs(pct_error(run_date_close, one_month_actual))) as one_month_no_change_error
    from counted
    group by grouping sets ((counted.ticker), ())
), verdict as (
    (select distinct on (ticker) ticker, passed,
            array(select rule ->> 'reason' from jsonb_array_elements(rules) with ordinality as r (rule, place)
                  where not (rule ->> 'passed')::boolean order by place) as reasons
     from gate_verdict
     where not exists (select from simulation_model where simulation_id = %(simulation_id)s)
     order by ticker, verdict_id desc)
    union all
    (select distinct on (ticker) ticker, passed, reasons from simulation_model
     where simulation_id = %(simulation_id)s
     order by ticker, first_session desc)
)
select known.ticker,
       case when scored.ticker is not null then rank() over (
           partition by known.ticker is null
           order by wilson_low(num_correct, num_directional) desc nulls last, next_day_error) end as rank,
       num_filled, num_directional, num_correct,
       num_correct::double precision / nullif(num_directional, 0) as accuracy,
       wilson_low(num_correct, num_directional) as accuracy_low,
       wilson_high(num_correct, num_directional) as accuracy_high,
       num_directional::double precision / nullif(num_filled, 0) as coverage,
       next_day_error, next_day_no_change_error, next_monday_error, next_monday_no_change_error,
       one_month_error, one_month_no_change_error, first_run_date, last_run_date,
       active.version as active_version, verdict.passed as gate_passed,
       coalesce(verdict.reasons, '{}') as gate_reasons
from (select ticker from known where ticker is not null union all select null) known
left join scored on scored.ticker is not distinct from known.ticker and (scored.is_universe = 1) = (known.ticker is null)
left join verdict on verdict.ticker = known.ticker
left join checkpoint active on active.ticker = known.ticker and active.status = 'active'
order by known.ticker is null, rank nulls last, known.ticker;

-- name: counted_directions
-- The directions that `scores` counts, packed by ticker: days since 2000-01-01, and whether they were right.
with recursive known (ticker) as (
    (select ticker from snapshot order by ticker limit 1)
    union all
    select (select s.ticker from snapshot s where s.ticker > known.ticker order by s.ticker limit 1)
    from known where known.ticker is not null
)
select known.ticker, f.days, f.are_correct
from known
cross join lateral (
    select array_agg(run_date - date '2000-01-01' order by run_date) as days,
           array_agg(next_day_direction_correct order by run_date) as are_correct
    from (
        select run_date, next_day_direction_correct from snapshot
        where snapshot.ticker = known.ticker and snapshot.simulation_id = %(simulation_id)s and snapshot.kind = %(kind)s
          and snapshot.next_day_actual is not null
          and (%(version)s::text is null or snapshot.model_version = %(version)s)
        order by snapshot.run_date desc limit %(num_sessions)s
    ) newest
    where next_day_direction_correct is not null
) f
where known.ticker is not null and f.days is not null;

-- name: universe_days
-- All tickers together by run date, the newest run dates of one kind: directions, and sums of absolute errors in percent.
select run_date,
       count(next_day_direction_correct) as num_directional,
       count(*) filter (where next_day_direction_correct) as num_correct,
       count(*) as num_filled,
       sum(abs(next_day_pct_error)) as error,
       sum(abs(pct_error(run_date_close, next_day_actual))) as no_change_error
from snapshot
where simulation_id = %(simulation_id)s and kind = %(kind)s and next_day_actual is not null
  and run_date > coalesce((
      select session from trading_session
      where session <= (select max(run_date) from snapshot where simulation_id = %(simulation_id)s)
      order by session desc offset %(num_sessions)s limit 1), '-infinity')
group by run_date
order by run_date;

-- name: versions
-- The versions of models, the newest first. Tickers that were trained on the same session share a name.
select version from checkpoint where version is not null group by version order by max(activated_at) desc limit 200;

-- name: bars
-- The newest vintage of the newest bars of a ticker.
select session, open, high, low, close, volume
from (
    select distinct on (session) session, open, high, low, close, volume
    from bar where ticker = %(ticker)s and session > %(since)s
    order by session desc, recorded_at desc) newest
order by session;

-- name: newest_bar
select max(session) from bar where ticker = %(ticker)s;

-- name: forecasts_of_ticker
-- Rows of one kind, the oldest first. Prices are restated to the price basis of the current bars.
select s.run_date, s.run_date_close / b.ratio as close, s.direction_pred, s.next_day_direction_correct as is_correct,
       s.abstained_reason, s.model_version, s.recorded_at,
       s.next_day_session, s.next_day_pred / b.ratio as next_day_pred, s.next_day_actual / b.ratio as next_day_actual,
       s.next_day_low_80 / b.ratio as next_day_low, s.next_day_high_80 / b.ratio as next_day_high,
       s.next_monday_session, s.next_monday_pred / b.ratio as next_monday_pred,
       s.next_monday_actual / b.ratio as next_monday_actual,
       s.next_monday_low_80 / b.ratio as next_monday_low, s.next_monday_high_80 / b.ratio as next_monday_high,
       s.one_month_session, s.one_month_pred / b.ratio as one_month_pred, s.one_month_actual / b.ratio as one_month_actual,
       s.one_month_low_80 / b.ratio as one_month_low, s.one_month_high_80 / b.ratio as one_month_high
from snapshot s
cross join lateral (
    select coalesce(product(split.ratio order by split.session), 1) as ratio from split
    where split.ticker = s.ticker and split.session > s.run_date and split.recorded_at > s.bars_recorded_until) b
where s.ticker = %(ticker)s and s.simulation_id = %(simulation_id)s and s.kind = %(kind)s and s.run_date > %(since)s
order by s.run_date;

-- name: splits
-- Splits as corrected, without withdrawn ones.
select session, product(ratio order by split_id), max(recorded_at) from split where ticker = %(ticker)s
group by session having abs(product(ratio order by split_id) - 1) > 1e-9 order by session desc;

-- name: loss_curves
-- The newest networks of a ticker with the losses of their epochs.
select checkpoint_id, status, version, trained_on, best_epoch, training_losses, validation_losses, no_change_loss
from checkpoint where ticker = %(ticker)s
order by trained_on desc, checkpoint_id desc limit %(num_rows)s;

-- name: seals
select seal_id, session, first_event, num_events, sealed_at, encode(sha256, 'hex') as sha256
from ledger_seal order by seal_id desc limit %(num_rows)s;

-- name: seals_by_number
select seal_id, encode(sha256, 'hex') from ledger_seal where seal_id = any (%(numbers)s::bigint[]);

-- name: daily_attempts
-- The newest sessions that a daily run has attempted, with the number of tickers that are done.
select session, count(*) as num_tickers, count(done_at) as num_done, max(num_attempts) as num_attempts,
       min(first_attempt_at) as first_attempt_at, max(last_attempt_at) as last_attempt_at, max(done_at) as done_at,
       (array_agg(distinct reason) filter (where done_at is null and reason is not null))[1:3] as reasons
from daily_attempt
where session > (select coalesce(max(session), 'infinity') from daily_attempt) - %(num_days)s::integer
group by session order by session desc;

-- name: newest_runs
-- Runs of Dagster's storage, whose schema the connection uses. Times are seconds since 1970.
select run_id, pipeline_name as job, status, start_time, end_time from runs order by id desc limit %(num_rows)s;

-- name: last_verification
-- The newest result of the check that verifies the whole record, in Dagster's storage. The time is in UTC.
select execution_status, create_timestamp at time zone 'UTC', run_id
from asset_check_executions where check_name = 'record_is_intact' and execution_status <> 'PLANNED'
order by id desc limit 1;
