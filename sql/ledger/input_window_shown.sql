-- A window of a ticker without any bar saw the store as it was when the window was recorded.
select ticker, session, inputs, window_sha256, close, close_min, close_max, not_ready,
       coalesce(bars_recorded_until, recorded_at) as bars_recorded_until
from input_window
where ticker = %(ticker)s and session = %(session)s and recorded_at <= %(until)s
  and window_sha256 is not distinct from %(window_sha256)s::text
order by recorded_at desc
limit 1;
