-- What became of the shadows of every checkpoint, and of the forecasts on record of the same run dates. A shadow beside a
-- live row counts only when it was on record as early.
select r.ticker, r.checkpoint_id, c.status, c.version, c.file_sha256, c.trained_on, r.num_shadows,
       r.first_run_date, r.last_run_date, r.num_filled, r.num_directional, r.num_correct,
       r.num_correct::double precision / nullif(r.num_directional, 0) as direction_accuracy,
       wilson_low(r.num_correct, r.num_directional) as accuracy_low,
       wilson_high(r.num_correct, r.num_directional) as accuracy_high,
       r.num_directional::double precision / nullif(r.num_filled, 0) as coverage,
       r.next_day_error, r.next_day_no_change_error,
       r.num_next_monday, r.next_monday_error, r.next_monday_no_change_error,
       r.num_one_month, r.one_month_error, r.one_month_no_change_error,
       r.num_beside, r.error_beside, r.error_on_record
from (
    select f.ticker, f.checkpoint_id,
           count(*) as num_shadows,
           min(f.run_date) filter (where f.next_day_actual is not null) as first_run_date,
           max(f.run_date) filter (where f.next_day_actual is not null) as last_run_date,
           count(f.next_day_actual) as num_filled,
           count(f.next_day_direction_correct) as num_directional,
           count(*) filter (where f.next_day_direction_correct) as num_correct,
           avg(abs(f.next_day_pct_error)) as next_day_error,
           avg(abs(pct_error(f.run_date_close, f.next_day_actual))) as next_day_no_change_error,
           count(f.next_monday_actual) as num_next_monday,
           avg(abs(f.next_monday_pct_error)) as next_monday_error,
           avg(abs(pct_error(f.run_date_close, f.next_monday_actual))) as next_monday_no_change_error,
           count(f.one_month_actual) as num_one_month,
           avg(abs(f.one_month_pct_error)) as one_month_error,
           avg(abs(pct_error(f.run_date_close, f.one_month_actual))) as one_month_no_change_error,
           count(*) filter (where s.next_day_actual is not null) as num_beside,
           avg(abs(f.next_day_pct_error)) filter (where s.next_day_actual is not null) as error_beside,
           avg(abs(s.next_day_pct_error)) as error_on_record
    from shadow_record f
    join snapshot s on s.ticker = f.ticker and s.run_date = f.run_date
    where f.kind = %(kind)s and (f.in_time or f.kind = 'simulated')
    group by f.ticker, f.checkpoint_id
) r
join checkpoint c using (checkpoint_id)
order by r.ticker, r.checkpoint_id desc;
