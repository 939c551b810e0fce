insert into overdue_fill (ticker, run_date, horizon)
select ticker, run_date, horizon
from open_fill
where has_closed and actual is null and target_session <= %(as_of)s
  and (%(tickers)s::text[] is null or ticker = any (%(tickers)s::text[]))
on conflict do nothing;
