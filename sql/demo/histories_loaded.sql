select count(distinct ticker) from bar where ticker = any (%(tickers)s) and session = %(session)s;
