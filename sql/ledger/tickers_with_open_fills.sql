select distinct ticker
from snapshot
where abstained_reason is null
  and (next_day_actual is null or next_monday_actual is null or one_month_actual is null)
  and ticker = any (%(tickers)s);
