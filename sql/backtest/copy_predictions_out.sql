copy (
    select backtest_id, fold, session, close, next_day_pred, next_monday_pred, one_month_pred,
           next_day_actual, next_monday_actual, one_month_actual
    from backtest_prediction
    where backtest_id = any(%(backtest_ids)s::bigint[])
    order by backtest_id, fold, session
) to stdout (format csv, header);
