select wanted.ticker, newest.session, before.session, before.close
from unnest(%(tickers)s::text[], %(firsts)s::date[]) as wanted(ticker, first)
cross join lateral (
    select session from bar where bar.ticker = wanted.ticker order by session desc limit 1
) as newest
left join lateral (
    select session, close from bar
    where bar.ticker = wanted.ticker and session < wanted.first
    order by session desc, recorded_at desc limit 1
) as before on true;
