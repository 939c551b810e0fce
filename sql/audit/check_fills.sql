select event_id, 'fill' as event, ticker, run_date, horizon, what
from (
    select e.event_id, coalesce(e.ticker, f.ticker) as ticker, coalesce(e.run_date, f.run_date) as run_date,
           coalesce(e.horizon, f.horizon) as horizon,
           case
               when f.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'fill'::text, f.ticker, f.run_date, f.horizon, f.target_session, f.actual, f.pct_error,
                   f.direction_actual, f.direction_correct, f.filled_at))) then 'altered'
               when f.filled_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or f.filled_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (select event_id, ticker, run_date, horizon::text as horizon, leaf from ledger_event where event = 'fill') e
    full join (
        select s.ticker, s.run_date, h.*
        from snapshot s
        cross join lateral (values
            ('next_day', s.next_day_session, s.next_day_actual, s.next_day_pct_error,
             s.next_day_direction_actual, s.next_day_direction_correct, s.next_day_filled_at),
            ('next_monday', s.next_monday_session, s.next_monday_actual, s.next_monday_pct_error,
             null::text, null::boolean, s.next_monday_filled_at),
            ('one_month', s.one_month_session, s.one_month_actual, s.one_month_pct_error,
             null::text, null::boolean, s.one_month_filled_at)
        ) h (horizon, target_session, actual, pct_error, direction_actual, direction_correct, filled_at)
        where h.actual is not null
    ) f on f.ticker = e.ticker and f.run_date = e.run_date and f.horizon = e.horizon
) checked
where what is not null
order by event_id nulls last, run_date, ticker, horizon
limit 100;
