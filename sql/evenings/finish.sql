update evening_attempt set
    done_at = case when cell.reason is null then clock_timestamp() end, reason = cell.reason
from unnest(%(sessions)s::date[], %(tickers)s::text[], %(reasons)s::text[]) as cell (session, ticker, reason)
where (evening_attempt.session, evening_attempt.ticker) = (cell.session, cell.ticker);
