-- Those of some (session, ticker) pairs' sessions on which a ticker has no row although its own record had begun.
select distinct session
from unnest(%(sessions)s::date[], %(tickers)s::text[]) as expected (session, ticker)
where not exists (select from snapshot s where s.ticker = expected.ticker and s.run_date = expected.session)
  and exists (select from snapshot s
              where s.ticker = expected.ticker and s.run_date < expected.session and s.kind <> 'simulated');
