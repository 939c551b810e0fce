select quarantined_id, ticker, session from quarantined_bar
where resolved_at is null and session is not null and ticker = any(%(tickers)s::text[]);
