select ticker, run_date, horizon, target_session, pred, actual is not null as bar_is_there, actual
from open_fill
where has_closed and target_session <= %(as_of)s
  and (%(tickers)s::text[] is null or ticker = any (%(tickers)s::text[]))
order by ticker, run_date, target_session, horizon;
