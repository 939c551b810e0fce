update checkpoint set status = 'retired', retired_at = clock_timestamp()
where ticker = any(%(tickers)s::text[]) and status = 'active';
