-- Operations: attempts at daily partitions, alerts, and the notifications composed of them with their deliveries.

-- Functions keep this search path: they find their tables from any connection, and a temporary table of the same name,
-- which would otherwise be found first, cannot stand in for one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Written before the work begins, so that the attempts of killed processes are counted.
create table daily_attempt (
    session          date        not null,
    ticker           text        not null,
    num_attempts     integer     not null default 1 check (num_attempts > 0),
    first_attempt_at timestamptz not null default clock_timestamp(),
    last_attempt_at  timestamptz not null default clock_timestamp(),
    done_at          timestamptz,
    reason           text,
    primary key (session, ticker)
);

comment on table daily_attempt is
    'Attempts at one session of one ticker. done_at: when the partition was complete; reason: why the newest attempt did not complete it, NULL while it runs.';

create table notification (
    notification_id bigint generated always as identity primary key,
    made_at         timestamptz not null default clock_timestamp(),
    session         date,
    severity        text        not null check (severity in ('info', 'warning', 'error')),
    title           text        not null,
    body            text        not null
);

comment on table notification is
    'Messages composed of alerts. Each message contains its notification_id, by which a repeated delivery is recognised.';

create table notification_delivery (
    notification_id bigint      not null references notification on delete cascade,
    channel         text        not null,
    shown_as        text        not null,
    num_attempts    integer     not null default 0 check (num_attempts >= 0),
    may_be_repeat   boolean     not null default false,
    next_attempt_at timestamptz not null default clock_timestamp(),
    sending_since   timestamptz,
    delivered_at    timestamptz,
    given_up_at     timestamptz,
    last_error      text,
    primary key (notification_id, channel),
    check (num_nonnulls(sending_since, delivered_at, given_up_at) <= 1)
);

create index notification_delivery_open on notification_delivery (next_attempt_at)
    where delivered_at is null and given_up_at is null;

comment on table notification_delivery is
    'Delivery of a notification to a channel. channel: a hash of its address, which is secret; shown_as: the part of the address that is not secret; sending_since: the claim of a sender, which remains if the sender is killed; may_be_repeat: an attempt ended without an answer, so that the next one may be a repeat.';

create table alert (
    alert_id                   bigint generated always as identity primary key,
    key                        text        not null unique,
    kind                       text        not null,
    severity                   text        not null check (severity in ('info', 'warning', 'error')),
    session                    date,
    subject                    text        not null,
    summary                    text        not null,
    link                       text,
    is_news                    boolean     not null default false,
    raised_at                  timestamptz not null default clock_timestamp(),
    seen_at                    timestamptz not null default clock_timestamp(),
    resolved_at                timestamptz,
    notification_id            bigint      references notification on delete set null,
    notified_at                timestamptz,
    resolution_notification_id bigint      references notification on delete set null,
    resolution_notified_at     timestamptz,
    check (resolved_at >= raised_at),
    check (not (is_news and resolved_at is not null))
);

create index alert_unnotified on alert (raised_at) where notified_at is null and resolved_at is null;
create index alert_open on alert (kind, session) where resolved_at is null and not is_news;
create index alert_resolution_unnotified on alert (resolved_at)
    where notified_at is not null and resolution_notified_at is null;

comment on table alert is
    'One row per condition that a person must know of, however often it is detected; news is never resolved. key: the identity of the condition; link: a path of the UI; raised_at: when it was raised first, reopened, or became due for a reminder; seen_at: when it was last detected.';
