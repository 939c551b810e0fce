-- Those of some (session, ticker) pairs' sessions on which a ticker has no row although its record had begun.
select distinct session
from unnest(%(sessions)s::date[], %(tickers)s::text[]) as expected (session, ticker)
join record_beginning(array(select distinct unnest(%(tickers)s::text[]))) using (ticker)
where began_on <= session
  and not exists (select from snapshot s where s.ticker = expected.ticker and s.run_date = expected.session);
