select event_id, 'void' as event, ticker, run_date, horizon, what
from (
    select e.event_id, coalesce(e.ticker, v.ticker) as ticker, coalesce(e.run_date, v.run_date) as run_date,
           coalesce(e.horizon, v.horizon) as horizon,
           case
               when v.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                   e.event_id, 'void'::text, v.ticker, v.run_date, v.horizon, v.target_session,
                   pg_catalog.convert_to(v.reason, 'UTF8'), v.wait_sessions, v.voided_at))) then 'altered'
               when v.voided_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or v.voided_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (select event_id, ticker, run_date, horizon::text as horizon, leaf from ledger_event where event = 'void') e
    full join (
        select ticker, run_date, horizon::text as horizon, target_session, reason, wait_sessions::bigint, voided_at
        from voided_fill
    ) v on v.ticker = e.ticker and v.run_date = e.run_date and v.horizon = e.horizon
) checked
where what is not null
order by event_id nulls last, run_date, ticker, horizon
limit 100;
