-- The exchange calendar as the database knows it: what decides whether a forecast came before its session.

create table trading_session (
    session   date        primary key,
    opens_at  timestamptz not null,
    closes_at timestamptz not null check (closes_at > opens_at)
);

comment on table trading_session is 'Sessions of XNYS with their open and close; written from exchange-calendars, never edited.';
