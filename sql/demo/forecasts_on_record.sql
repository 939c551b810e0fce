select count(*) from snapshot where ticker = any (%(tickers)s) and run_date between %(first)s and %(last)s;
