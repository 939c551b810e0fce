select ticker, session, inputs, window_sha256, close, close_min, close_max, not_ready, bars_recorded_until
from current_input_window
where session = %(session)s and ticker = any (%(tickers)s::text[])
order by ticker;
