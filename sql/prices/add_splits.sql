-- A split that the stored bars have had all along is dated by the first of them: nothing was restated by it.
insert into split (ticker, session, ratio, recorded_at)
select new.ticker, new.session, new.ratio,
       case when new.is_applied
            then coalesce((select min(recorded_at) from bar where bar.ticker = new.ticker), %(recorded_at)s)
            else %(recorded_at)s end
from unnest(%(tickers)s::text[], %(sessions)s::date[], %(ratios)s::double precision[], %(applied)s::boolean[])
    as new(ticker, session, ratio, is_applied)
on conflict (ticker, session) do nothing;
