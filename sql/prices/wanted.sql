-- What of each ticker to fetch for some sessions of it: from a few stored bars before the first session that is asked
-- for, or that is missing shortly before it, to its newest stored bar. No first session: all of its history.
select asked.ticker, overlap.first_session, greatest(asked.last, edge.newest) as last_session
from unnest(%(tickers)s::text[], %(firsts)s::date[], %(lasts)s::date[]) as asked (ticker, first, last)
cross join lateral (
    select min(session) as oldest, max(session) as newest from bar where bar.ticker = asked.ticker
) as edge
cross join lateral (
    select min(recent.session) as session
    from unnest(%(recent)s::date[]) as recent (session)
    where recent.session > edge.oldest
      and not exists (select from bar where bar.ticker = asked.ticker and bar.session = recent.session)
) as hole
left join lateral (
    select distinct session as first_session
    from bar
    where bar.ticker = asked.ticker and session < least(asked.first, hole.session)
    order by session desc
    offset %(overlap)s::integer - 1 limit 1
) as overlap on true;
