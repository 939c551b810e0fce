-- Tickers whose newest verdict is younger than every bar that the training could see.
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
