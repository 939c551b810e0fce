-- Daily bars as vintages: a bar that arrives with other values is a new row, never an overwrite.

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

comment on table bar is 'Split-adjusted daily bars; every value ever recorded, told apart by recorded_at.';

create trigger bar_is_append_only before update or delete or truncate on bar
for each statement execute function is_append_only();

alter table bar enable always trigger bar_is_append_only;

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

comment on table quarantined_bar is 'Bars that were refused, with the reason. Resolved when a valid bar of that session arrives.';

create table split (
    ticker      text             not null,
    session     date             not null,
    ratio       double precision not null check (ratio > 0 and ratio <> 1),
    recorded_at timestamptz      not null default clock_timestamp(),
    primary key (ticker, session)
);

comment on table split is 'Splits by the first session that trades on the new basis; ratio is new shares for one old share.';

create trigger split_is_append_only before update or delete or truncate on split
for each statement execute function is_append_only();

alter table split enable always trigger split_is_append_only;
