-- name: raise
-- The newest detection decides severity and texts; an event that is read twice, or late, changes nothing. A reminder is
-- due where the alert got worse, still exists in a later session, or was reopened after its resolution was notified.
-- An alert without a notification keeps the time at which it was raised first. All transactions lock in key order.
with seen as (
    select key, kind, severity, session, subject, summary, link, is_news,
           coalesce(seen_at, clock_timestamp()) as seen_at
    from unnest(%(keys)s::text[], %(kinds)s::text[], %(severities)s::text[], %(sessions)s::date[], %(subjects)s::text[],
                %(summaries)s::text[], %(links)s::text[], %(are_news)s::boolean[], %(seen_at)s::timestamptz[])
        as seen (key, kind, severity, session, subject, summary, link, is_news, seen_at)
)
insert into alert as known (key, kind, severity, session, subject, summary, link, is_news, raised_at, seen_at)
select key, kind, severity, session, subject, summary, link, is_news, seen_at, seen_at
from seen
order by key
on conflict (key) do update
set (raised_at, notification_id, notified_at) = (
        select case when was_resolved or notified_at is not null and reminder_is_due then excluded.seen_at
                    else known.raised_at end,
               case when not reminder_is_due then notification_id end,
               case when not reminder_is_due then notified_at end
        from (
            select known.resolved_at is not null as was_resolved, known.notification_id, known.notified_at,
                   known.resolution_notified_at is not null
                   or coalesce(excluded.session > known.session, false)
                   or known.resolved_at is not null and excluded.session is distinct from known.session
                   or array_position(array['info', 'warning', 'error'], excluded.severity)
                      > array_position(array['info', 'warning', 'error'], known.severity) as reminder_is_due
        ) as before
    ),
    severity = excluded.severity, subject = excluded.subject, summary = excluded.summary, link = excluded.link,
    session = case when known.resolved_at is null then greatest(known.session, excluded.session)
                   else excluded.session end,
    seen_at = excluded.seen_at, resolved_at = null, resolution_notification_id = null, resolution_notified_at = null
where not known.is_news and excluded.seen_at > coalesce(known.resolved_at, known.seen_at)
returning raised_at = seen_at as is_new;

-- name: resolve
-- Open alerts with these keys that were last seen before their resolution. All transactions lock in key order.
with resolved as (
    select a.alert_id, a.key, resolution.resolved_at
    from (
        select key, max(coalesce(resolved_at, clock_timestamp())) as resolved_at
        from unnest(%(keys)s::text[], %(resolved_at)s::timestamptz[]) as resolution (key, resolved_at)
        group by key
    ) resolution
    join alert a on a.key = resolution.key
), locked as (
    select alert_id from alert where alert_id in (select alert_id from resolved) order by key for update
)
update alert a
set resolved_at = resolved.resolved_at
from resolved join locked using (alert_id)
where a.alert_id = resolved.alert_id and a.resolved_at is null and not a.is_news and a.seen_at < resolved.resolved_at;

-- name: open
select key, kind, severity, session, subject, summary, link, is_news, raised_at as seen_at
from alert
where resolved_at is null and not is_news
order by session nulls last, array_position(array['error', 'warning', 'info'], severity), kind, subject, alert_id;

-- name: history
-- Open alerts, and what was resolved or was news since a moment, the open ones first. Without a moment: all of them.
select key, kind, severity, session, subject, summary, link, is_news, raised_at, seen_at, notified_at, resolved_at,
       resolution_notified_at
from alert
where (resolved_at is null and not is_news)
   or %(since)s::timestamptz is null
   or coalesce(resolved_at, raised_at) >= %(since)s::timestamptz
order by resolved_at is not null or is_news, array_position(array['error', 'warning', 'info'], severity), raised_at, key;

-- name: by_key
select key, kind, severity, session, subject, summary, link, is_news, raised_at, seen_at, notified_at, resolved_at,
       resolution_notified_at
from alert
where key = %(key)s;

-- name: unnotified
-- Open alerts without a notification, and resolutions of notified alerts. An alert that was resolved before it was
-- notified is left out. All transactions lock in key order, so that the second of two at once finds nothing left.
select alert_id, kind, severity, session, subject, summary, link,
       resolved_at is not null as is_resolved,
       extract(epoch from clock_timestamp() - coalesce(resolved_at, raised_at))::float8 as age_seconds
from alert
where (notified_at is null and resolved_at is null)
   or (notified_at is not null and resolved_at is not null and resolution_notified_at is null)
order by key
for update;

-- name: insert_notifications
insert into notification (session, severity, title, body)
select * from unnest(%(sessions)s::date[], %(severities)s::text[], %(titles)s::text[], %(bodies)s::text[])
returning notification_id, session;

-- name: mark_notified
update alert a
set notification_id            = case when resolved_at is null then sent.notification_id else a.notification_id end,
    notified_at                = case when resolved_at is null then clock_timestamp() else notified_at end,
    resolution_notification_id = case when resolved_at is null then null else sent.notification_id end,
    resolution_notified_at     = case when resolved_at is null then null else clock_timestamp() end
from unnest(%(alert_ids)s::bigint[], %(notification_ids)s::bigint[]) as sent (alert_id, notification_id)
where a.alert_id = sent.alert_id;

-- name: insert_deliveries
insert into notification_delivery (notification_id, channel, shown_as)
select notification_id, channel, shown_as
from unnest(%(notification_ids)s::bigint[]) as composed (notification_id)
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as);

-- name: try_sender_lock
-- Held until the connection ends: the lock of a sender that is killed is released.
select pg_try_advisory_lock(hashtextextended('ldtm alerts of ' || current_schema(), 0));

-- name: release_sender_lock
-- Released explicitly: the server notices a closed connection only a moment later.
select pg_advisory_unlock_all();

-- name: give_up
-- Deliveries whose time is up, if they were attempted or their channel no longer exists. After an outage of days, each
-- delivery is therefore attempted once before it is given up.
update notification_delivery
set given_up_at = clock_timestamp(), sending_since = null, may_be_repeat = may_be_repeat or sending_since is not null
from notification
where notification.notification_id = notification_delivery.notification_id
    and delivered_at is null and given_up_at is null
    and made_at + make_interval(secs => %(after_seconds)s) <= clock_timestamp()
    and (num_attempts > 0 or channel <> all(%(channels)s::text[]));

-- name: address
-- A channel that was added after a notification was composed gets it as long as no channel has accepted it.
insert into notification_delivery (notification_id, channel, shown_as)
select notification_id, channel, shown_as
from notification
cross join unnest(%(channels)s::text[], %(shown)s::text[]) as address (channel, shown_as)
where made_at + make_interval(secs => %(after_seconds)s) > clock_timestamp()
    and not exists (
        select from notification_delivery d
        where d.notification_id = notification.notification_id and d.delivered_at is not null)
on conflict (notification_id, channel) do nothing;

-- name: claim
-- The next delivery that is due, those without an attempt first. A sender that is killed leaves sending_since behind,
-- with the time of the next attempt set. One sender works at a time, so that no other process holds such a claim.
with due as (
    select notification_id, channel
    from notification_delivery
    where delivered_at is null and given_up_at is null and next_attempt_at <= clock_timestamp()
        and channel = any(%(channels)s)
    order by num_attempts, notification_id, channel
    limit 1
    for update
), claimed as (
    update notification_delivery d
    set sending_since = clock_timestamp(), num_attempts = num_attempts + 1,
        may_be_repeat = may_be_repeat or sending_since is not null,
        next_attempt_at = clock_timestamp()
            + make_interval(secs => least(%(first_wait)s * 2.0 ^ least(num_attempts, 30), %(longest_wait)s))
    from due
    where d.notification_id = due.notification_id and d.channel = due.channel
    returning d.notification_id, d.channel, d.may_be_repeat, d.last_error
)
select notification_id, channel, severity, title, body, may_be_repeat, last_error
from claimed join notification using (notification_id);

-- name: not_delivered
update notification_delivery
set sending_since = null, last_error = %(reason)s, may_be_repeat = may_be_repeat or %(may_be_repeat)s
where notification_id = %(notification_id)s and channel = %(channel)s;

-- name: delivered
update notification_delivery
set delivered_at = clock_timestamp(), sending_since = null, last_error = null
where notification_id = %(notification_id)s and channel = %(channel)s;

-- name: channel_backlogs
-- By channel: notifications that are still retried, and that were given up.
select shown_as, count(*) filter (where given_up_at is null)::int as num_waiting,
       count(given_up_at)::int as num_given_up,
       (array_agg(last_error order by notification_id desc) filter (where last_error is not null))[1] as last_error
from notification_delivery
where delivered_at is null
group by channel, shown_as
order by shown_as;
