copy (
    select distinct on (ticker, session) ticker, session, open, high, low, close, volume
    from bar
    where ticker = any(%(tickers)s::text[])
      and recorded_at <= %(moment)s::timestamptz
      and session <= coalesce(%(last)s::date, 'infinity')
    order by ticker desc, session desc, recorded_at desc
) to stdout (format csv)
