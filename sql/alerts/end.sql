-- Open troubles with these keys that were not seen since they were seen to be well. Locked in one order for all.
with over as (
    select t.trouble_id, t.key, ending.ended_at
    from (
        select key, max(coalesce(seen_at, clock_timestamp())) as ended_at
        from unnest(%(keys)s::text[], %(seen_at)s::timestamptz[]) as ending (key, seen_at)
        group by key
    ) ending
    join trouble t on t.key = ending.key
), locked as (
    select trouble_id from trouble where trouble_id in (select trouble_id from over) order by key for update
)
update trouble t
set ended_at = over.ended_at
from over join locked using (trouble_id)
where t.trouble_id = over.trouble_id and t.ended_at is null and not t.is_news and t.seen_at < over.ended_at;
