-- Every active model with its filled live forecasts in the order of their run dates; errors in percent.
select c.ticker, c.version, c.checkpoint_id,
       r.run_dates, r.errors, r.called_on, r.is_right,
       wilson_low(r.num_correct, r.num_directional) as accuracy_low,
       wilson_high(r.num_correct, r.num_directional) as accuracy_high
from checkpoint c
cross join lateral (
    select coalesce(array_agg(s.run_date order by s.run_date), '{}') as run_dates,
           coalesce(array_agg(abs(s.next_day_pct_error) order by s.run_date), '{}') as errors,
           coalesce(array_agg(s.run_date order by s.run_date)
                    filter (where s.next_day_direction_correct is not null), '{}') as called_on,
           coalesce(array_agg(s.next_day_direction_correct order by s.run_date)
                    filter (where s.next_day_direction_correct is not null), '{}') as is_right,
           count(*) filter (where s.next_day_direction_correct) as num_correct,
           count(s.next_day_direction_correct) as num_directional
    from snapshot s
    where s.checkpoint_id = c.checkpoint_id and s.kind = 'live' and s.next_day_actual is not null
) r
where c.status = 'active'
order by c.ticker;
