select max(session) from trading_session where closes_at <= clock_timestamp();
