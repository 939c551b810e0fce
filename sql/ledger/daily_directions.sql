-- How many directions were given and right on each run date that has a filled forecast, over all of the ledger.
select run_date, count(next_day_direction_correct) as num_directional,
       count(*) filter (where next_day_direction_correct) as num_correct
from snapshot
where kind = any (%(kinds)s::text[]) and next_day_actual is not null
group by run_date
order by run_date;
