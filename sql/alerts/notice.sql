-- What is known and open stays as it is, unless it is still there on a later evening. What had ended is open again if
-- this was seen after its end: an event that is read twice opens nothing. Where nobody has heard of the end, nobody
-- needs to hear of it again. In one order for all, so that of two who notice none waits for the other for ever.
insert into trouble as known (key, kind, severity, evening, subject, summary, link, is_news, noticed_at)
select key, kind, severity, evening, subject, summary, link, is_news, coalesce(seen_at, clock_timestamp())
from unnest(%(keys)s::text[], %(kinds)s::text[], %(severities)s::text[], %(evenings)s::date[], %(subjects)s::text[],
            %(summaries)s::text[], %(links)s::text[], %(are_news)s::boolean[], %(seen_at)s::timestamptz[])
    as seen (key, kind, severity, evening, subject, summary, link, is_news, seen_at)
order by key
on conflict (key) do update
set severity = excluded.severity, evening = excluded.evening, subject = excluded.subject, summary = excluded.summary,
    link = excluded.link, noticed_at = excluded.noticed_at, ended_at = null, end_told_in = null, end_told_at = null,
    told_in = case when known.end_told_at is null and excluded.evening is not distinct from known.evening
                   then known.told_in end,
    told_at = case when known.end_told_at is null and excluded.evening is not distinct from known.evening
                   then known.told_at end
where not known.is_news
    and excluded.noticed_at > coalesce(known.ended_at, known.noticed_at)
    and (known.ended_at is not null or excluded.evening > known.evening);
