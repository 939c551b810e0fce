select s.ticker, f.horizon, f.target_session,
       case
           when s.abstained_reason is not null then 'abstained'
           when f.actual is not null then 'filled'
           when v.ticker is not null then 'voided'
           when t.closes_at <= clock_timestamp() then 'waiting for its bar'
           else 'open'
       end as state
from snapshot s
cross join lateral (values
    (1, 'next_day', s.next_day_session, s.next_day_actual),
    (2, 'next_monday', s.next_monday_session, s.next_monday_actual),
    (3, 'one_month', s.one_month_session, s.one_month_actual)) f (place, horizon, target_session, actual)
left join trading_session t on t.session = f.target_session
left join voided_fill v on v.ticker = s.ticker and v.run_date = s.run_date and v.horizon = f.horizon
where s.run_date = %(run_date)s and s.ticker = any (%(tickers)s::text[])
order by s.ticker, f.place;
