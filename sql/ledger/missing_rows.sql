select ticker, run_date
from unnest(%(tickers)s::text[], %(run_dates)s::date[]) as expected (ticker, run_date)
where not exists (
    select from snapshot where snapshot.ticker = expected.ticker and snapshot.run_date = expected.run_date)
order by run_date, ticker;
