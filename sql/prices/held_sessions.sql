copy (
    select distinct ticker, session from bar
    where ticker = any(%(tickers)s::text[]) and session = any(%(sessions)s::date[])
    order by ticker, session
) to stdout (format csv)
