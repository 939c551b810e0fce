-- What a model is shown: one window per ticker and session, or the reason why there is none.

create table input_window (
    ticker              text        not null,
    session             date        not null,
    recorded_at         timestamptz not null default clock_timestamp(),
    window_sha256       text,
    inputs              bytea,
    close               double precision,
    close_min           double precision,
    close_max           double precision,
    not_ready           text,
    bars_recorded_until timestamptz,
    primary key (ticker, session, recorded_at),
    constraint input_window_is_ready_or_says_why check (
        (not_ready is null and window_sha256 is not null and inputs is not null and close is not null
         and close_min is not null and close_max is not null and bars_recorded_until is not null)
        or (not_ready is not null and window_sha256 is null and inputs is null))
);

comment on table input_window is 'The scaled window that a forecast reads, byte for byte: 30 x 11 little-endian float32, sessions by inputs.';

comment on column input_window.bars_recorded_until is 'The newest recorded_at among the bars that the window was made of.';

create trigger input_window_is_append_only before update or delete or truncate on input_window
for each statement execute function is_append_only();

alter table input_window enable always trigger input_window_is_append_only;

create view current_input_window as
select distinct on (ticker, session)
    ticker, session, recorded_at, window_sha256, inputs, close, close_min, close_max, not_ready, bars_recorded_until
from input_window
order by ticker, session, recorded_at desc;
