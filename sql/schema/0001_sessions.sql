-- The exchange calendar as the database knows it: what decides whether a forecast came before its session.

-- Every trigger of this schema is enabled always, so that session_replication_role = replica does not get past it.
create function is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never changed or removed', tg_table_name
        using errcode = 'integrity_constraint_violation';
end $$;

-- A session opens and closes on its own day: an invented one cannot put off the open that makes a forecast late.
create table trading_session (
    session   date        primary key,
    opens_at  timestamptz not null,
    closes_at timestamptz not null check (closes_at > opens_at),
    constraint trading_session_is_on_its_day check (
        (opens_at at time zone 'America/New_York')::date = session
        and (closes_at at time zone 'America/New_York')::date = session)
);

comment on table trading_session is
    'Sessions of XNYS with their open and close; written from exchange-calendars, unchangeable once a session has opened.';

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

create trigger trading_session_is_never_truncated before truncate on trading_session
for each statement execute function is_append_only();

alter table trading_session enable always trigger trading_session_stays_once_opened;
alter table trading_session enable always trigger trading_session_is_never_truncated;
