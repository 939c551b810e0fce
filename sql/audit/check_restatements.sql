select event_id, 'restatement' as event, ticker, run_date, horizon, what
from (
    select e.event_id, coalesce(e.ticker, r.ticker) as ticker, coalesce(e.run_date, r.run_date) as run_date,
           coalesce(e.horizon, r.horizon) as horizon,
           case
               when r.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'restatement'::text, r.ticker, r.run_date, r.horizon, r.target_session, r.bar_recorded_at,
                   r.actual, r.restated_actual, r.noticed_at))) then 'altered'
               when r.noticed_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or r.noticed_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (
        select event_id, ticker, run_date, horizon::text as horizon, vintage, leaf
        from ledger_event where event = 'restatement'
    ) e
    full join (
        select ticker, run_date, horizon::text as horizon, target_session, bar_recorded_at, actual, restated_actual,
               noticed_at
        from restated_actual
    ) r on r.ticker = e.ticker and r.run_date = e.run_date and r.horizon = e.horizon and r.bar_recorded_at = e.vintage
) checked
where what is not null
order by event_id nulls last, run_date, ticker, horizon
limit 100;
