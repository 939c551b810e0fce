-- Who was right: the last 30 filled sessions of every ticker, and of all of them together.

-- The 95% interval of Wilson (1927) for a share of successes; NULL without a trial. 1.959963984540054 is the 97.5%
-- point of the normal distribution.
create function wilson_low(successes bigint, trials bigint) returns double precision
immutable return case
    when successes = 0 and trials > 0 then 0
    else (successes + 1.959963984540054::double precision ^ 2 / 2 - 1.959963984540054::double precision
          * sqrt(successes::double precision * (trials - successes) / nullif(trials, 0)
                 + 1.959963984540054::double precision ^ 2 / 4))
         / (nullif(trials, 0) + 1.959963984540054::double precision ^ 2) end;

create function wilson_high(successes bigint, trials bigint) returns double precision
immutable return 1 - wilson_low(trials - successes, trials);

-- One row per ticker and, with ticker NULL, one for the universe: the same rows pooled. Tickers move together, so the
-- universe's interval, which takes its rows for independent, is narrower than the truth.
-- Rank goes by the lower end of the interval, so that one lucky call does not lead; then by the next-day error.
create function accuracy_30d(kinds text[]) returns table (
    ticker                     text,
    rank                       bigint,
    first_run_date             date,
    last_run_date              date,
    num_filled                 bigint,
    num_directional            bigint,
    num_correct                bigint,
    direction_accuracy         double precision,
    accuracy_low               double precision,
    accuracy_high              double precision,
    coverage                   double precision,
    next_day_error             double precision,
    next_day_no_change_error   double precision,
    num_next_monday            bigint,
    next_monday_error          double precision,
    next_monday_no_change_error double precision,
    num_one_month              bigint,
    one_month_error            double precision,
    one_month_no_change_error  double precision
) stable
begin atomic
    with counted as (
        select f.*
        from (select distinct snapshot.ticker from snapshot) known
        cross join lateral (
            select * from snapshot
            where snapshot.ticker = known.ticker and snapshot.kind = any (kinds)
              and snapshot.next_day_actual is not null
            order by snapshot.run_date desc limit 30
        ) f
    ), scored as (
        select counted.ticker,
               grouping(counted.ticker) as is_universe,
               min(run_date) as first_run_date,
               max(run_date) as last_run_date,
               count(*) as num_filled,
               count(next_day_direction_correct) as num_directional,
               count(*) filter (where next_day_direction_correct) as num_correct,
               avg(abs(next_day_pct_error)) as next_day_error,
               avg(abs(pct_error(run_date_close, next_day_actual))) as next_day_no_change_error,
               count(next_monday_actual) as num_next_monday,
               avg(abs(next_monday_pct_error)) as next_monday_error,
               avg(abs(pct_error(run_date_close, next_monday_actual))) as next_monday_no_change_error,
               count(one_month_actual) as num_one_month,
               avg(abs(one_month_pct_error)) as one_month_error,
               avg(abs(pct_error(run_date_close, one_month_actual))) as one_month_no_change_error
        from counted
        group by grouping sets ((counted.ticker), ())
    )
    select scored.ticker,
           case when is_universe = 0 then rank() over (
               partition by is_universe
               order by wilson_low(num_correct, num_directional) desc nulls last, next_day_error) end,
           first_run_date, last_run_date, num_filled, num_directional, num_correct,
           num_correct::double precision / nullif(num_directional, 0),
           wilson_low(num_correct, num_directional),
           wilson_high(num_correct, num_directional),
           num_directional::double precision / nullif(num_filled, 0),
           next_day_error, next_day_no_change_error,
           num_next_monday, next_monday_error, next_monday_no_change_error,
           num_one_month, one_month_error, one_month_no_change_error
    from scored;
end;

create view ldtm_accuracy_30d as
select * from accuracy_30d(array['live']) where ticker is not null order by rank, ticker;

create view ldtm_accuracy_30d_universe as
select * from accuracy_30d(array['live']) where ticker is null;

comment on view ldtm_accuracy_30d is
    'Per ticker over its last 30 filled live sessions: direction accuracy with its 95% Wilson interval, coverage, mean absolute errors in percent beside those of the no-change forecast.';
