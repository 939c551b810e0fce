-- The forecasts that the leaderboard counts, by the rule of accuracy_30d: the newest 30 filled of every ticker.
select f.ticker, f.run_date, f.next_day_direction_correct as is_correct, f.run_date_close, f.next_day_pred,
       f.next_day_actual
from (select distinct snapshot.ticker from snapshot) known
cross join lateral (
    select * from snapshot
    where snapshot.ticker = known.ticker and snapshot.kind = any (%(kinds)s::text[])
      and snapshot.next_day_actual is not null
    order by snapshot.run_date desc limit 30
) f
order by f.run_date, f.ticker;
