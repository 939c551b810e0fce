insert into snapshot (
    ticker, run_date, kind, next_day_session, next_monday_session, one_month_session, run_date_close,
    next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason,
    checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256, bars_recorded_until, recorded_at)
select ticker, %(run_date)s, %(kind)s, %(next_day_session)s, %(next_monday_session)s, %(one_month_session)s,
       run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, abstained_reason,
       checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256, bars_recorded_until,
       clock_timestamp()
from unnest(%(ticker)s::text[], %(run_date_close)s::float8[], %(next_day_pred)s::float8[],
            %(next_monday_pred)s::float8[], %(one_month_pred)s::float8[], %(direction_pred)s::text[],
            %(abstained_reason)s::text[], %(checkpoint_id)s::bigint[], %(model_version)s::text[],
            %(model_status)s::text[], %(checkpoint_sha256)s::text[], %(window_sha256)s::text[],
            %(bars_recorded_until)s::timestamptz[])
    as draft (ticker, run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred,
              abstained_reason, checkpoint_id, model_version, model_status, checkpoint_sha256, window_sha256,
              bars_recorded_until)
order by ticker
on conflict (ticker, run_date) do nothing
returning ticker;
