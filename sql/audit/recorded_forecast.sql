select recorded_at, kind, next_day_session, next_monday_session, one_month_session, run_date_close,
       next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason, checkpoint_id, model_version,
       model_status, checkpoint_sha256, window_sha256, bars_recorded_until
from snapshot where ticker = %(ticker)s and run_date = %(run_date)s;
