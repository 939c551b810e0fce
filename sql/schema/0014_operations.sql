-- What runs by itself: what was tried of an evening, what went wrong, and what people were told of it.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Written before the work begins, so that a run that is killed has been counted.
create table evening_attempt (
    session          date        not null,
    ticker           text        not null,
    num_attempts     integer     not null default 1 check (num_attempts > 0),
    first_attempt_at timestamptz not null default clock_timestamp(),
    last_attempt_at  timestamptz not null default clock_timestamp(),
    done_at          timestamptz,
    reason           text,
    primary key (session, ticker)
);

comment on table evening_attempt is
    'Attempts at a session of a ticker. done_at: everything of it is there; reason: why the newest attempt was not enough, null while it runs.';

-- When a ticker's own record begins, at once: backfills may have written years of simulated rows before it.
create index snapshot_not_simulated on snapshot (ticker, run_date) where kind <> 'simulated';

-- The messages themselves, and what became of each on its way to each channel.
create table alert (
    alert_id bigint generated always as identity primary key,
    made_at  timestamptz not null default clock_timestamp(),
    evening  date,
    severity text        not null check (severity in ('info', 'warning', 'error')),
    title    text        not null,
    body     text        not null
);

comment on table alert is 'Messages to people. Its number stands in each message, so that one that came twice can be told.';

create table alert_delivery (
    alert_id        bigint      not null references alert on delete cascade,
    channel         text        not null,
    shown_as        text        not null,
    num_attempts    integer     not null default 0 check (num_attempts >= 0),
    may_have_come   boolean     not null default false,
    next_attempt_at timestamptz not null default clock_timestamp(),
    sending_since   timestamptz,
    delivered_at    timestamptz,
    given_up_at     timestamptz,
    last_error      text,
    primary key (alert_id, channel),
    check (num_nonnulls(sending_since, delivered_at, given_up_at) <= 1)
);

create index alert_delivery_open on alert_delivery (next_attempt_at) where delivered_at is null and given_up_at is null;

comment on table alert_delivery is
    'channel: a hash of its address, which is a secret; shown_as: what may be shown of it. sending_since without an end: whoever sent it was killed. may_have_come: an attempt ended without an answer, so that the next one may be a repeat.';

-- One row for whatever people must hear of, however often it is seen.
create table trouble (
    trouble_id  bigint generated always as identity primary key,
    key         text        not null unique,
    kind        text        not null,
    severity    text        not null check (severity in ('info', 'warning', 'error')),
    evening     date,
    subject     text        not null,
    summary     text        not null,
    link        text,
    is_news     boolean     not null default false,
    noticed_at  timestamptz not null default clock_timestamp(),
    ended_at    timestamptz,
    told_in     bigint      references alert on delete set null,
    end_told_in bigint      references alert on delete set null,
    told_at     timestamptz,
    end_told_at timestamptz,
    check (ended_at >= noticed_at),
    check (not (is_news and ended_at is not null))
);

create index trouble_untold on trouble (noticed_at) where told_at is null and ended_at is null;
create index trouble_open on trouble (kind, evening) where ended_at is null and not is_news;
create index trouble_recovered on trouble (ended_at) where told_at is not null and end_told_at is null;

comment on table trouble is
    'What went wrong, or is news, which has no end. key: what makes it the same thing again; link: a path of the pages; noticed_at: when it happened, as whoever saw it tells; ended_at: it is well again.';

create or replace function rights_to_write() returns table (relation name, privilege text, columns name[])
language sql immutable as $$
    select unnest(array[
        'bar', 'split', 'quarantined_bar', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'registry_order', 'snapshot', 'shadow_forecast',
        'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session',
        'evening_attempt', 'alert', 'alert_delivery', 'trouble'
    ])::name, 'insert', null::name[]
    union all
    select unnest(array[
        'evening_attempt', 'alert', 'alert_delivery', 'trouble', 'quarantined_bar', 'trading_session'
    ])::name, 'delete', null::name[]
    union all
    select unnest(array['evening_attempt', 'alert_delivery', 'trouble'])::name, 'update', null::name[]
    union all values
    ('quarantined_bar'::name, 'update', array['last_seen_at', 'resolved_at']::name[]),
    ('training_failure', 'update', array['reason', 'failed_at']),
    ('checkpoint', 'update',
     array['status', 'file_name', 'major', 'version', 'activated_at', 'retired_at', 'file_removed_at']),
    ('snapshot', 'update', array['next_day_actual', 'next_monday_actual', 'one_month_actual']),
    ('trading_session', 'update', array['opens_at', 'closes_at'])
$$;

do $$
begin
    perform allow_to_write(r.rolname)
    from pg_class c
    cross join lateral (select distinct grantee from aclexplode(c.relacl) where privilege_type = 'INSERT') given
    join pg_roles r on r.oid = given.grantee
    where c.oid = 'snapshot'::regclass and not r.rolsuper and r.oid <> c.relowner;
end $$;
