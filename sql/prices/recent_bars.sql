copy (
    select wanted.ticker, recent.*
    from (select distinct ticker from unnest(%(tickers)s::text[]) as asked(ticker)) as wanted
    cross join lateral (
        select distinct on (session) session, open, high, low, close, volume
        from bar
        where bar.ticker = wanted.ticker and session <= %(last)s::date
        order by session desc, recorded_at desc
        limit %(num_bars)s::integer
    ) as recent
) to stdout (format csv)
