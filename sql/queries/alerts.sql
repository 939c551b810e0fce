-- name: raise
-- The newest sighting decides severity and words; an event that is read twice, or late, changes nothing. A reminder is
-- due where the alert got worse, still exists in a later session, or was reopened after its resolution was notified.
-- An alert without a notification keeps the time at which it was raised first. All transactions lock in key order.
with seen as (
    select key, kind, severity, session, subject, summary, link, is_news,
           coalesce(seen_at, clock_timestamp()) as seen_at
    from unnest(%(keys)s::text[], %(kinds)s::text[], %(severities)s::text[], %(sessions)s::date[], %(subjects)s::text[],
                %(summaries)s::text[], %(links)s::text[], %(are_news)s::boolean[], %(seen_at)s::timestamptz[])
        as seen (key, kind, severity, session, subject, summary, link, is_news, seen_at)
)
insert into trouble as known (key, kind, severity, evening, subject, summary, link, is_news, noticed_at, seen_at)
select key, kind, severity, session, subject, summary, link, is_news, seen_at, seen_at
from seen
order by key
on conflict (key) do update
set (noticed_at, told_in, told_at) = (
        select case when was_resolved or told_at is not null and reminder_is_due then excluded.seen_at
                    else known.noticed_at end,
               case when not reminder_is_due then told_in end,
               case when not reminder_is_due then told_at end
        from (
            select known.ended_at is not null as was_resolved, known.told_in, known.told_at,
                   known.end_told_at is not null
                   or coalesce(excluded.evening > known.evening, false)
                   or known.ended_at is not null and excluded.evening is distinct from known.evening
                   or array_position(array['info', 'warning', 'error'], excluded.severity)
                      > array_position(array['info', 'warning', 'error'], known.severity) as reminder_is_due
        ) as before
    ),
    severity = excluded.severity, subject = excluded.subject, summary = excluded.summary, link = excluded.link,
    evening = case when known.ended_at is null then greatest(known.evening, excluded.evening)
                   else excluded.evening end,
    seen_at = excluded.seen_at, ended_at = null, end_told_in = null, end_told_at = null
where not known.is_news and excluded.seen_at > coalesce(known.ended_at, known.seen_at)
returning noticed_at = seen_at as is_new;

-- name: resolve
-- Open alerts with these keys that were last seen before their resolution. All transactions lock in key order.
with resolved as (
    select a.trouble_id, a.key, resolution.ended_at
    from (
        select key, max(coalesce(ended_at, clock_timestamp())) as ended_at
        from unnest(%(keys)s::text[], %(resolved_at)s::timestamptz[]) as resolution (key, ended_at)
        group by key
    ) resolution
    join trouble a on a.key = resolution.key
), locked as (
    select trouble_id from trouble where trouble_id in (select trouble_id from resolved) order by key for update
)
update trouble a
set ended_at = resolved.ended_at
from resolved join locked using (trouble_id)
where a.trouble_id = resolved.trouble_id and a.ended_at is null and not a.is_news and a.seen_at < resolved.ended_at;

-- name: open
select key, kind, severity, evening as session, subject, summary, link, is_news, noticed_at as seen_at
from trouble
where ended_at is null and not is_news
order by evening nulls last, array_position(array['error', 'warning', 'info'], severity), kind, subject, trouble_id;

-- name: unnotified
-- Open alerts without a notification, and resolutions of notified alerts. An alert that was resolved before it was
-- notified is left out. All transactions lock in key order, so that the second of two at once finds nothing left.
select trouble_id as alert_id, kind, severity, evening as session, subject, summary, link,
       ended_at is not null as is_resolved,
       extract(epoch from clock_timestamp() - coalesce(ended_at, noticed_at))::float8 as age_seconds
from trouble
where (told_at is null and ended_at is null)
   or (told_at is not null and ended_at is not null and end_told_at is null)
order by key
for update;

-- name: insert_notifications
insert into alert (evening, severity, title, body)
select * from unnest(%(sessions)s::date[], %(severities)s::text[], %(titles)s::text[], %(bodies)s::text[])
returning alert_id, evening;

-- name: mark_notified
update trouble a
set told_in            = case when ended_at is null then sent.notification_id else a.told_in end,
    told_at                = case when ended_at is null then clock_timestamp() else told_at end,
    end_told_in = case when ended_at is null then null else sent.notification_id end,
    end_told_at     = case when ended_at is null then null else clock_timestamp() end
from unnest(%(alert_ids)s::bigint[], %(notification_ids)s::bigint[]) as sent (alert_id, notification_id)
where a.trouble_id = sent.alert_id;

-- name: insert_deliveries
insert into alert_delivery (alert_id, channel, shown_as)
select alert_id, channel, shown_as
from unnest(%(notification_ids)s::bigint[]) as composed (alert_id)
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as);

-- name: try_sender_lock
-- Held until the connection ends: the lock of a sender that is killed is released.
select pg_try_advisory_lock(hashtextextended('ldtm alerts of ' || current_schema(), 0));

-- name: release_sender_lock
-- At once: the server notices a closed connection only a moment later.
select pg_advisory_unlock_all();

-- name: give_up
-- Deliveries that were attempted, or whose channel no longer exists: after an outage of days each is first attempted
-- once.
update alert_delivery
set given_up_at = clock_timestamp(), sending_since = null, may_have_come = may_have_come or sending_since is not null
from alert
where alert.alert_id = alert_delivery.alert_id
    and delivered_at is null and given_up_at is null
    and made_at + make_interval(secs => %(after_seconds)s) <= clock_timestamp()
    and (num_attempts > 0 or channel <> all(%(channels)s::text[]));

-- name: address
-- A channel that was added after a notification was composed gets it as long as no channel has accepted it.
insert into alert_delivery (alert_id, channel, shown_as)
select alert_id, channel, shown_as
from alert
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as)
where made_at + make_interval(secs => %(after_seconds)s) > clock_timestamp()
    and not exists (
        select from alert_delivery d
        where d.alert_id = alert.alert_id and d.delivered_at is not null)
on conflict (alert_id, channel) do nothing;

-- name: claim
-- The next delivery that is due, those without an attempt first. A sender that is killed leaves sending_since behind,
-- with the time of the next attempt set. One sender works at a time, so that no other process holds such a claim.
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
select alert_id as notification_id, channel, severity, title, body, may_have_come as may_be_repeat, last_error
from claimed join alert using (alert_id);

-- name: not_delivered
update alert_delivery
set sending_since = null, last_error = %(reason)s, may_have_come = may_have_come or %(may_be_repeat)s
where alert_id = %(notification_id)s and channel = %(channel)s;

-- name: delivered
update alert_delivery
set delivered_at = clock_timestamp(), sending_since = null, last_error = null
where alert_id = %(notification_id)s and channel = %(channel)s;

-- name: channel_backlogs
-- By channel: notifications that are still retried, and that were given up.
select shown_as, count(*) filter (where given_up_at is null)::int as num_waiting,
       count(given_up_at)::int as num_given_up,
       (array_agg(last_error order by alert_id desc) filter (where last_error is not null))[1] as last_error
from alert_delivery
where delivered_at is null
group by channel, shown_as
order by shown_as;
