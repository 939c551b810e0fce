-- What runs by itself: what was tried of an evening, what went wrong, and what people were told of it.

-- Functions keep this search path: they find their tables from any connection, and a temporary table of the same name,
-- which would otherwise be found first, cannot stand in for one of them.
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

-- The first session on that was the ticker's newest one when it was forecast or tried: what a person makes of the past
-- begins nothing. NULL before there is one.
create function record_beginning(tickers text[]) returns table (ticker text, began_on date) stable
begin atomic
    select of_ticker, least(spoken.since, tried.since)
    from unnest(tickers) as of_ticker
    left join lateral (
        select run_date as since
        from snapshot s
        where s.ticker = of_ticker and s.kind <> 'simulated'
          and (s.kind = 'live' or s.recorded_at < (select closes_at from trading_session t where t.session = s.next_day_session))
        order by run_date limit 1
    ) spoken on true
    left join lateral (
        select a.session as since
        from evening_attempt a
        where a.ticker = of_ticker and a.session < coalesce(spoken.since, 'infinity')
          and a.first_attempt_at < (select closes_at from trading_session t where t.session > a.session
                                    order by t.session limit 1)
        order by a.session limit 1
    ) tried on true;
end;

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
    seen_at     timestamptz not null default clock_timestamp(),
    check (ended_at >= noticed_at),
    check (not (is_news and ended_at is not null))
);

create index trouble_untold on trouble (noticed_at) where told_at is null and ended_at is null;
create index trouble_open on trouble (kind, evening) where ended_at is null and not is_news;
create index trouble_recovered on trouble (ended_at) where told_at is not null and end_told_at is null;

comment on table trouble is
    'What went wrong, or is news, which has no end. key: what makes it the same thing again; link: a path of the pages; noticed_at: since when it is there, or as bad, or of that evening, as whoever saw it tells; seen_at: when it was seen last; ended_at: it is well again.';
