select ticker, session, ratio from split where ticker = any(%(tickers)s::text[]) order by ticker, session;
