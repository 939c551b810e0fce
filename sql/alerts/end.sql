-- Open troubles that fit an ending in all that it names, and were there before it.
update trouble
set ended_at = over.ended_at
from (
    select trouble_id, min(coalesce(ending.seen_at, clock_timestamp())) as ended_at
    from unnest(%(keys)s::text[], %(kinds)s::text[], %(subjects)s::text[], %(evenings)s::date[],
                %(seen_at)s::timestamptz[]) as ending (key, kind, subject, evening, seen_at)
    join trouble t on t.ended_at is null and not t.is_news
        and (ending.key is null or t.key = ending.key)
        and (ending.kind is null or t.kind = ending.kind)
        and (ending.subject is null or t.subject = ending.subject)
        and (ending.evening is null or t.evening = ending.evening)
        and t.noticed_at < coalesce(ending.seen_at, clock_timestamp())
    group by trouble_id
) over
where trouble.trouble_id = over.trouble_id;
