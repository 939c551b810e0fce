select ticker, run_date, kind, recorded_at, next_day_session, next_monday_session, one_month_session, run_date_close,
       next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason,
       checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256, bars_recorded_until
from snapshot
where run_date = %(run_date)s and ticker = any (%(tickers)s::text[])
order by array_position(%(tickers)s::text[], ticker);
