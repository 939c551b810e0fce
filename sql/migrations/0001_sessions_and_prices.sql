-- The exchange calendar, and daily bars as vintages: a bar with other values is a new row, never an update.
-- Every trigger of this schema is enabled always, so that session_replication_role = replica does not disable it.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create function is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never changed or removed', tg_table_name
        using errcode = 'integrity_constraint_violation';
end $$;

-- A session opens and closes on its own date, so that an invalid row cannot delay the open after which a forecast is
-- late.
create table trading_session (
    session   date        primary key,
    opens_at  timestamptz not null,
    closes_at timestamptz not null check (closes_at > opens_at),
    constraint trading_session_is_on_its_day check (
        (opens_at at time zone 'America/New_York')::date = session
        and (closes_at at time zone 'America/New_York')::date = session)
);

comment on table trading_session is
    'Sessions of XNYS with their open and close, from exchange-calendars. A session that has opened cannot be changed.';

create function trading_session_has_opened() returns trigger language plpgsql as $$
begin
    if old.opens_at <= clock_timestamp() then
        raise exception 'session % has opened and cannot be changed or removed', old.session
            using errcode = 'integrity_constraint_violation';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end $$;

create trigger trading_session_stays_once_opened before update or delete on trading_session
for each row execute function trading_session_has_opened();
alter table trading_session enable always trigger trading_session_stays_once_opened;
create trigger trading_session_is_never_truncated before truncate on trading_session
for each statement execute function is_append_only();
alter table trading_session enable always trigger trading_session_is_never_truncated;

create table bar (
    ticker      text             not null,
    session     date             not null,
    recorded_at timestamptz      not null,
    open        double precision not null,
    high        double precision not null,
    low         double precision not null,
    close       double precision not null,
    volume      double precision not null,
    source      text             not null,
    primary key (ticker, session, recorded_at),
    constraint bar_prices_are_positive_and_finite check (low > 0 and high < 'infinity'),
    constraint bar_high_is_highest check (high >= greatest(open, close)),
    constraint bar_low_is_lowest check (low <= least(open, close)),
    constraint bar_volume_is_not_negative check (volume >= 0 and volume < 'infinity')
);

comment on table bar is 'Split-adjusted daily bars in all vintages, which differ in recorded_at.';

create index bar_by_recorded_at on bar using brin (recorded_at) with (pages_per_range = 16);

create trigger bar_is_append_only before update or delete or truncate on bar
for each statement execute function is_append_only();
alter table bar enable always trigger bar_is_append_only;

-- A bar is dated by the transaction that records it, not by the caller. The five minutes of tolerance are for a clock
-- that was set back, whose next vintage must still be later than the last one.
create function recorded_now() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select from added
               where recorded_at < transaction_timestamp() or recorded_at > clock_timestamp() + interval '5 minutes') then
        raise exception 'rows of % are dated by the moment they are recorded at', tg_table_name
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger bar_is_recorded_now after insert on bar
referencing new table as added for each statement execute function recorded_now();
alter table bar enable always trigger bar_is_recorded_now;

create view current_bar as
select distinct on (ticker, session) ticker, session, recorded_at, open, high, low, close, volume, source
from bar
order by ticker, session, recorded_at desc;

comment on view current_bar is 'The newest vintage of every bar.';

create table quarantined_bar (
    quarantined_id bigint generated always as identity primary key,
    ticker         text        not null,
    session        date,
    reason         text        not null,
    bar            jsonb       not null,
    source         text        not null,
    first_seen_at  timestamptz not null default clock_timestamp(),
    last_seen_at   timestamptz not null default clock_timestamp(),
    resolved_at    timestamptz,
    constraint quarantined_bar_once unique nulls not distinct (ticker, session, reason, bar, source)
);

comment on table quarantined_bar is 'Refused bars with the reason; resolved when a valid bar of the session arrives.';

create table split (
    ticker      text             not null,
    session     date             not null,
    ratio       double precision not null check (ratio > 0 and ratio <> 1),
    recorded_at timestamptz      not null default clock_timestamp(),
    primary key (ticker, session)
);

comment on table split is 'Splits by the first session that trades on the new price basis; ratio: new shares for one old share.';

create trigger split_is_append_only before update or delete or truncate on split
for each statement execute function is_append_only();
alter table split enable always trigger split_is_append_only;

-- A split that the stored bars already contain is dated by the first of them. No forecast is older than the ticker's
-- first bar, so that such a split restates no forecast. Any other split is dated by the transaction that records it, as
-- bars are.
create function split_is_recorded_now() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select from added
               where recorded_at > clock_timestamp() + interval '5 minutes'
                  or (recorded_at < transaction_timestamp()
                      and recorded_at is distinct from (select min(bar.recorded_at) from bar where bar.ticker = added.ticker))) then
        raise exception 'rows of % are dated by the moment they are recorded at, or by the first bar of their ticker',
            tg_table_name using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger split_is_recorded_now after insert on split
referencing new table as added for each statement execute function split_is_recorded_now();
alter table split enable always trigger split_is_recorded_now;
