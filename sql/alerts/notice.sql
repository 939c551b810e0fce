-- Who has seen it last says how bad it is; an event that is read twice, or late, says nothing new. It is told again where
-- it got worse, is still there on a later evening, or is there again after its end was told. What nobody was told of yet
-- waits since it was noticed first. In one order for all, so that of two who notice none waits for the other for ever.
with seen as (
    select key, kind, severity, evening, subject, summary, link, is_news, coalesce(seen_at, clock_timestamp()) as seen_at
    from unnest(%(keys)s::text[], %(kinds)s::text[], %(severities)s::text[], %(evenings)s::date[], %(subjects)s::text[],
                %(summaries)s::text[], %(links)s::text[], %(are_news)s::boolean[], %(seen_at)s::timestamptz[])
        as seen (key, kind, severity, evening, subject, summary, link, is_news, seen_at)
)
insert into trouble as known (key, kind, severity, evening, subject, summary, link, is_news, noticed_at, seen_at)
select key, kind, severity, evening, subject, summary, link, is_news, seen_at, seen_at
from seen
order by key
on conflict (key) do update
set (noticed_at, told_in, told_at) = (
        select case when is_over or told_at is not null and is_more then excluded.seen_at else known.noticed_at end,
               case when not is_more then told_in end,
               case when not is_more then told_at end
        from (
            select known.ended_at is not null as is_over, known.told_in, known.told_at,
                   known.end_told_at is not null
                   or coalesce(excluded.evening > known.evening, false)
                   or known.ended_at is not null and excluded.evening is distinct from known.evening
                   or array_position(array['info', 'warning', 'error'], excluded.severity)
                      > array_position(array['info', 'warning', 'error'], known.severity) as is_more
        ) as before
    ),
    severity = excluded.severity, subject = excluded.subject, summary = excluded.summary, link = excluded.link,
    evening = case when known.ended_at is null then greatest(known.evening, excluded.evening) else excluded.evening end,
    seen_at = excluded.seen_at, ended_at = null, end_told_in = null, end_told_at = null
where not known.is_news and excluded.seen_at > coalesce(known.ended_at, known.seen_at)
returning noticed_at = seen_at as is_new;
