-- name: histories_loaded
select count(distinct ticker) from bar where ticker = any (%(tickers)s) and session = %(session)s;

-- name: tickers_judged
-- Tickers whose newest verdict is later than every bar that the training could use.
select count(*)
from (
    select distinct on (ticker) ticker, trained_on, decided_at
    from gate_verdict
    where ticker = any (%(tickers)s)
    order by ticker, verdict_id desc
) as verdict
where verdict.trained_on = %(session)s
  and not exists (
      select from bar
      where bar.ticker = verdict.ticker and bar.session <= %(session)s and bar.recorded_at > verdict.decided_at);

-- name: forecasts_on_record
select count(*) from snapshot where ticker = any (%(tickers)s) and run_date between %(first)s and %(last)s;
