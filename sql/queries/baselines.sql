-- name: insert_fitted
-- The baselines of a checkpoint that already has some stay as they are.
insert into fitted_baselines (
    checkpoint_id, num_training_rows, num_validation_rows, drift, ar1_intercept, ar1_slope, ridge_penalties,
    ridge_coefficients)
select checkpoint_id, num_training_rows, num_validation_rows, drift, ar1_intercept, ar1_slope,
       ridge_penalties::double precision[], ridge_coefficients
from unnest(%(checkpoint_ids)s::bigint[], %(num_training_rows)s::integer[], %(num_validation_rows)s::integer[],
            %(drift)s::float8[], %(ar1_intercept)s::float8[], %(ar1_slope)s::float8[], %(ridge_penalties)s::text[],
            %(ridge_coefficients)s::bytea[])
    as fitted (checkpoint_id, num_training_rows, num_validation_rows, drift, ar1_intercept, ar1_slope, ridge_penalties,
               ridge_coefficients)
on conflict (checkpoint_id) do nothing;

-- name: fitted
-- By the checkpoint that forecasts; a version that a rollback restored has the baselines of the original checkpoint.
select c.checkpoint_id, f.checkpoint_id as fitted_id, f.num_training_rows, f.num_validation_rows, f.drift, f.ar1_intercept, f.ar1_slope,
       f.ridge_penalties, f.ridge_coefficients
from checkpoint c
join fitted_baselines f on f.checkpoint_id = coalesce(c.restores, c.checkpoint_id)
where c.checkpoint_id = any (%(checkpoint_ids)s::bigint[]);

-- name: insert_scores
insert into backtest_score (
    backtest_id, fold, model, num_rows, next_day_error, next_monday_error, one_month_error, num_directional,
    num_correct, num_up, num_down)
select backtest_id, fold, model, num_rows, next_day_error, next_monday_error, one_month_error, num_directional,
       num_correct, num_up, num_down
from unnest(%(backtest_ids)s::bigint[], %(folds)s::integer[], %(model)s::text[], %(num_rows)s::integer[],
            %(next_day_error)s::float8[], %(next_monday_error)s::float8[], %(one_month_error)s::float8[],
            %(num_directional)s::integer[], %(num_correct)s::integer[], %(num_up)s::integer[], %(num_down)s::integer[])
    as scored (backtest_id, fold, model, num_rows, next_day_error, next_monday_error, one_month_error, num_directional,
               num_correct, num_up, num_down);

-- name: record_forecasts
insert into baseline_forecast (
    ticker, run_date, simulation_id, baseline, checkpoint_id, recorded_at, next_day_pred, next_monday_pred,
    one_month_pred, direction_pred)
select ticker, %(run_date)s, %(simulation_id)s, baseline, checkpoint_id, clock_timestamp(), next_day_pred, next_monday_pred,
       one_month_pred, direction_pred
from unnest(%(ticker)s::text[], %(baseline)s::text[], %(checkpoint_id)s::bigint[], %(next_day_pred)s::float8[],
            %(next_monday_pred)s::float8[], %(one_month_pred)s::float8[], %(direction_pred)s::text[])
    as draft (ticker, baseline, checkpoint_id, next_day_pred, next_monday_pred, one_month_pred, direction_pred)
order by ticker, baseline;

-- name: scores_of_forecasts
-- The network and its baselines on those rows that the leaderboard counts, by the rule of accuracy_30d, and that have a
-- forecast of every baseline. By ticker and model, and with ticker NULL for all tickers pooled.
with counted as (
    select f.*
    from (select distinct snapshot.ticker from snapshot) known
    cross join lateral (
        select * from snapshot
        where snapshot.ticker = known.ticker and snapshot.kind = %(kind)s and snapshot.simulation_id = %(simulation_id)s
          and snapshot.next_day_actual is not null
        order by snapshot.run_date desc limit 30
    ) f
), beside as (
    select c.ticker, c.run_date, c.simulation_id, b.baseline, b.next_day_pred, b.next_monday_pred, b.one_month_pred,
           b.direction_pred, count(*) over (partition by c.ticker, c.run_date) as num_beside
    from counted c
    join baseline_forecast b on (b.ticker, b.run_date, b.simulation_id) = (c.ticker, c.run_date, c.simulation_id)
    where b.baseline = any (%(baselines)s::text[])
), complete as (
    select * from beside where num_beside = cardinality(%(baselines)s::text[])
), compared as (
    select c.* from counted c
    where exists (select from complete where (complete.ticker, complete.run_date) = (c.ticker, c.run_date))
), forecasts as (
    select ticker, run_date, 'network' as model, next_day_pred, next_monday_pred, one_month_pred, direction_pred
    from compared
    union all
    select ticker, run_date, 'no_change', run_date_close, run_date_close, run_date_close, 'neutral' from compared
    union all
    select ticker, run_date, baseline, next_day_pred, next_monday_pred, one_month_pred, direction_pred from complete
)
select f.ticker, f.model, min(f.run_date) as first_session, max(f.run_date) as last_session,
       count(*) as num_next_day,
       avg(abs(pct_error(f.next_day_pred, c.next_day_actual))) as next_day_error,
       count(c.next_monday_actual) as num_next_monday,
       avg(abs(pct_error(f.next_monday_pred, c.next_monday_actual))) as next_monday_error,
       count(c.one_month_actual) as num_one_month,
       avg(abs(pct_error(f.one_month_pred, c.one_month_actual))) as one_month_error,
       count(*) filter (where f.direction_pred <> 'neutral') as num_directional,
       count(*) filter (where f.direction_pred <> 'neutral' and f.direction_pred = c.next_day_direction_actual) as num_correct,
       count(*) filter (where f.direction_pred <> 'neutral' and c.next_day_direction_actual = 'bullish') as num_up,
       count(*) filter (where f.direction_pred <> 'neutral' and c.next_day_direction_actual = 'bearish') as num_down
from forecasts f
join compared c using (ticker, run_date)
group by grouping sets ((f.ticker, f.model), (f.model))
order by f.ticker nulls last;

-- name: scores_of_backtests
-- The same over the test rows of each ticker's newest backtest that was scored.
with newest as (
    select distinct on (b.ticker) b.ticker, b.backtest_id
    from backtest b
    where exists (select from backtest_score s where s.backtest_id = b.backtest_id)
    order by b.ticker, b.trained_on desc, b.backtest_id desc
)
select n.ticker, s.model, min(f.first_test_session) as first_session, max(f.last_test_session) as last_session,
       sum(s.num_rows) as num_next_day, sum(s.next_day_error * s.num_rows) / sum(s.num_rows) as next_day_error,
       sum(s.num_rows) as num_next_monday, sum(s.next_monday_error * s.num_rows) / sum(s.num_rows) as next_monday_error,
       sum(s.num_rows) as num_one_month, sum(s.one_month_error * s.num_rows) / sum(s.num_rows) as one_month_error,
       sum(s.num_directional) as num_directional, sum(s.num_correct) as num_correct, sum(s.num_up) as num_up,
       sum(s.num_down) as num_down
from newest n
join backtest_score s using (backtest_id)
join backtest_fold f using (backtest_id, fold)
group by grouping sets ((n.ticker, s.model), (s.model))
order by n.ticker nulls last;
