copy backtest_prediction (
    backtest_id, fold, session, close, next_day_pred, next_monday_pred, one_month_pred,
    next_day_actual, next_monday_actual, one_month_actual)
from stdin (format csv);
