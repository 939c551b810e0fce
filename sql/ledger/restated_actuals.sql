select ticker, run_date, horizon, target_session, actual, restated_actual, bar_recorded_at
from restated_actual
where %(tickers)s::text[] is null or ticker = any (%(tickers)s::text[])
order by ticker, run_date, target_session, horizon, bar_recorded_at;
