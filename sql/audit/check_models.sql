select event_id, event, ticker, null::date as run_date, null as horizon, what
from (
    select e.event_id, coalesce(e.event, m.event) as event, coalesce(e.ticker, m.ticker) as ticker,
           case
               when m.ticker is null then 'missing'
               when e.event_id is null then 'added'
               when e.leaf is distinct from case m.event
                   when 'promotion' then pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                       e.event_id, 'promotion'::text, m.ticker, m.checkpoint_id, m.version, m.trained_on,
                       m.architecture_sha256, m.recipe_sha256, m.data_sha256, m.file_sha256, m.happened_at)))
                   else pg_catalog.sha256('\x00'::bytea || pg_catalog.record_send(row(
                       e.event_id, 'retirement'::text, m.ticker, m.checkpoint_id, m.version, m.happened_at)))
                   end then 'altered'
               when m.happened_at < (%(not_before)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                 or m.happened_at > (%(not_after)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])]
                   then 'misdated'
           end as what
    from (
        select event_id, event, ticker, checkpoint_id, leaf from ledger_event
        where event in ('promotion', 'retirement')
    ) e
    full join (
        select c.ticker, c.checkpoint_id, c.version, c.trained_on, c.architecture_sha256, c.recipe_sha256,
               c.data_sha256, c.file_sha256, h.event, h.happened_at
        from checkpoint c
        cross join lateral (values
            ('promotion', c.activated_at, c.status <> 'candidate'), ('retirement', c.retired_at, c.status = 'retired')
        ) h (event, happened_at, has_happened)
        where h.has_happened or h.happened_at is not null
    ) m on m.checkpoint_id = e.checkpoint_id and m.event = e.event and m.ticker = e.ticker
) checked
where what is not null
order by event_id nulls last, ticker
limit 100;
