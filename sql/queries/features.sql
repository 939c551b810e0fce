-- name: record_input_windows
-- A window has the price basis of its ticker's current bars only if its close equals the bar's close. The newest
-- recorded_at among those bars then dates its input; two years hold every bar that a window and its indicators read.
with given as (
    select *
    from unnest(%(tickers)s::text[], %(sessions)s::date[], %(sha256s)s::text[], %(inputs)s::bytea[],
                %(closes)s::float8[], %(close_mins)s::float8[], %(close_maxs)s::float8[], %(not_ready)s::text[])
        as g (ticker, session, window_sha256, inputs, close, close_min, close_max, not_ready)
), compared as (
    select given.*,
           given.not_ready is null and given.close is distinct from (
               select bar.close from bar
               where bar.ticker = given.ticker and bar.session = given.session
               order by bar.recorded_at desc limit 1) as is_outdated,
           (select max(bar.recorded_at) from bar
            where bar.ticker = given.ticker and bar.session <= given.session
              and bar.session > given.session - 730) as bars_recorded_until
    from given
), checked as (
    select ticker, session, bars_recorded_until,
           case when not is_outdated then window_sha256 end as window_sha256,
           case when not is_outdated then inputs end as inputs,
           case when not is_outdated then close end as close,
           case when not is_outdated then close_min end as close_min,
           case when not is_outdated then close_max end as close_max,
           case when is_outdated
                then 'has bars that changed while its window was made; make its features again'
                else not_ready end as not_ready
    from compared
)
insert into input_window
    (ticker, session, window_sha256, inputs, close, close_min, close_max, not_ready, bars_recorded_until)
select ticker, session, window_sha256, inputs, close, close_min, close_max, not_ready, bars_recorded_until
from checked
where not exists (
    select from current_input_window stored
    where stored.ticker = checked.ticker and stored.session = checked.session
      and (stored.window_sha256, stored.not_ready) is not distinct from (checked.window_sha256, checked.not_ready))
order by ticker, session
returning ticker, not_ready;

-- name: input_windows
select ticker, session, inputs, window_sha256, close, close_min, close_max, not_ready, bars_recorded_until
from current_input_window
where session = %(session)s and ticker = any (%(tickers)s::text[])
order by ticker;

-- name: input_window_shown
-- The window of a ticker without bars is dated by its own recording.
select ticker, session, inputs, window_sha256, close, close_min, close_max, not_ready,
       coalesce(bars_recorded_until, recorded_at) as bars_recorded_until
from input_window
where ticker = %(ticker)s and session = %(session)s and recorded_at <= %(until)s
  and window_sha256 is not distinct from %(window_sha256)s::text
order by recorded_at desc
limit 1;
