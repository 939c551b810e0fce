-- name: notice
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

-- name: end
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

-- name: open_troubles
select key, kind, severity, evening, subject, summary, link, is_news, noticed_at as seen_at
from trouble
where ended_at is null and not is_news
order by evening nulls last, array_position(array['error', 'warning', 'info'], severity), kind, subject, trouble_id;

-- name: try_to_send
-- Held until the connection ends: a sender that is killed lets go of it.
select pg_try_advisory_lock(hashtextextended('ldtm alerts of ' || current_schema(), 0));

-- name: stop_sending
-- At once: a connection that is closed is missed by the server only a moment later.
select pg_advisory_unlock_all();

-- name: undelivered
-- By channel: messages that are still tried, and that were given up.
select shown_as, count(*) filter (where given_up_at is null)::int as num_waiting,
       count(given_up_at)::int as num_given_up,
       (array_agg(last_error order by alert_id desc) filter (where last_error is not null))[1] as last_error
from alert_delivery
where delivered_at is null
group by channel, shown_as
order by shown_as;

-- name: give_up
-- What was tried, or has nobody to try it any more: a sender that was away for days makes its first attempt first.
update alert_delivery
set given_up_at = clock_timestamp(), sending_since = null, may_have_come = may_have_come or sending_since is not null
from alert
where alert.alert_id = alert_delivery.alert_id and delivered_at is null and given_up_at is null
    and made_at + make_interval(secs => %(after_seconds)s) <= clock_timestamp()
    and (num_attempts > 0 or channel <> all(%(channels)s::text[]));

-- name: address
-- A channel that was not there when a message was made gets it as long as no channel has taken it.
insert into alert_delivery (alert_id, channel, shown_as)
select alert_id, channel, shown_as
from alert
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as)
where made_at + make_interval(secs => %(after_seconds)s) > clock_timestamp()
    and not exists (select from alert_delivery d where d.alert_id = alert.alert_id and d.delivered_at is not null)
on conflict (alert_id, channel) do nothing;

-- name: claim
-- The next delivery that is due, fresh ones first. Whoever is killed while sending leaves sending_since behind, and the
-- time of the next attempt is set already. Only one sender works at a time, so that such a claim is nobody's.
with due as (
    select alert_id, channel
    from alert_delivery
    where delivered_at is null and given_up_at is null and next_attempt_at <= clock_timestamp()
        and channel = any(%(channels)s)
    order by num_attempts, alert_id, channel
    limit 1
    for update
), claimed as (
    update alert_delivery d
    set sending_since = clock_timestamp(), num_attempts = num_attempts + 1,
        may_have_come = may_have_come or sending_since is not null,
        next_attempt_at = clock_timestamp()
            + make_interval(secs => least(%(first_wait)s * 2.0 ^ least(num_attempts, 30), %(longest_wait)s))
    from due
    where d.alert_id = due.alert_id and d.channel = due.channel
    returning d.alert_id, d.channel, d.may_have_come, d.last_error
)
select alert_id, channel, severity, title, body, may_have_come, last_error from claimed join alert using (alert_id);

-- name: not_delivered
update alert_delivery
set sending_since = null, last_error = %(reason)s, may_have_come = may_have_come or %(may_have_come)s
where alert_id = %(alert_id)s and channel = %(channel)s;

-- name: delivered
update alert_delivery
set delivered_at = clock_timestamp(), sending_since = null, last_error = null
where alert_id = %(alert_id)s and channel = %(channel)s;

-- name: untold
-- What nobody has heard of: troubles that are there, and ends of those that were told. What ended before it was told
-- is no news to anybody. Locked in one order for all, so that of two who look at once the second finds nothing left.
select trouble_id, kind, severity, evening, subject, summary, link, ended_at is not null as is_over,
       extract(epoch from clock_timestamp() - coalesce(ended_at, noticed_at))::float8 as age_seconds
from trouble
where (told_at is null and ended_at is null) or (told_at is not null and ended_at is not null and end_told_at is null)
order by key
for update;

-- name: insert_alerts
insert into alert (evening, severity, title, body)
select * from unnest(%(evenings)s::date[], %(severities)s::text[], %(titles)s::text[], %(bodies)s::text[])
returning alert_id, evening;

-- name: mark_told
update trouble
set told_in     = case when ended_at is null then alert_id else told_in end,
    told_at     = case when ended_at is null then clock_timestamp() else told_at end,
    end_told_in = case when ended_at is null then null else alert_id end,
    end_told_at = case when ended_at is null then null else clock_timestamp() end
from unnest(%(trouble_ids)s::bigint[], %(alert_ids)s::bigint[]) as told (id, alert_id)
where trouble_id = id;

-- name: insert_deliveries
insert into alert_delivery (alert_id, channel, shown_as)
select alert_id, channel, shown_as
from unnest(%(alert_ids)s::bigint[]) as made (alert_id)
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as);
