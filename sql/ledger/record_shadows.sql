insert into shadow_forecast (
    ticker, run_date, checkpoint_id, model_status, recorded_at, run_date_close, next_day_pred, next_monday_pred,
    one_month_pred, direction_pred, window_sha256, bars_recorded_until)
select ticker, %(run_date)s, checkpoint_id, model_status, clock_timestamp(), run_date_close, next_day_pred,
       next_monday_pred, one_month_pred, direction_pred, window_sha256, bars_recorded_until
from unnest(%(ticker)s::text[], %(checkpoint_id)s::bigint[], %(model_status)s::text[], %(run_date_close)s::float8[],
            %(next_day_pred)s::float8[], %(next_monday_pred)s::float8[], %(one_month_pred)s::float8[],
            %(direction_pred)s::text[], %(window_sha256)s::text[], %(bars_recorded_until)s::timestamptz[])
    as draft (ticker, checkpoint_id, model_status, run_date_close, next_day_pred, next_monday_pred, one_month_pred,
              direction_pred, window_sha256, bars_recorded_until)
order by ticker, checkpoint_id
on conflict (ticker, run_date, checkpoint_id) do nothing;
