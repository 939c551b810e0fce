select backtest_id, window_leaks
from backtest
where backtest_id = any(%(backtest_ids)s::bigint[]) and window_leaks is not null;
