-- The daily volatility of each tested window: the unit of prediction intervals and of a neutral band of the ticker's own.
-- Backtests stored before have none.
alter table backtest_prediction add column volatility double precision
    constraint backtest_prediction_volatility_is_a_number
        check (volatility >= 0 and volatility < double precision 'Infinity');

comment on column backtest_prediction.volatility is
    'Standard deviation of the daily log returns inside the window of the session; null where it was not stored.';
