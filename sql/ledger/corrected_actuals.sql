select ticker, run_date, horizon, target_session, actual, corrected_actual, recorded_at
from corrected_actual
where %(tickers)s::text[] is null or ticker = any (%(tickers)s::text[])
order by ticker, run_date, target_session, horizon;
