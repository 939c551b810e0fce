select max(session) from trading_session;
