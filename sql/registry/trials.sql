-- How often a ticker was trained until a session, whether a network came of it or not, and with how many settings.
select asked.ticker, trained.num_trainings, tested.num_settings
from unnest(%(tickers)s::text[], %(trained_on)s::date[]) as asked (ticker, trained_on)
cross join lateral (
    select count(*) as num_trainings
    from (select trained_on, architecture_sha256, recipe_sha256, data_sha256 from checkpoint
          where checkpoint.ticker = asked.ticker and checkpoint.trained_on <= asked.trained_on and restores is null
          union
          select trained_on, architecture_sha256, recipe_sha256, data_sha256 from training_failure
          where training_failure.ticker = asked.ticker and training_failure.trained_on <= asked.trained_on
            and part = 'checkpoint') inputs
) as trained
cross join lateral (
    select count(distinct (architecture_sha256, recipe_sha256, plan_sha256)) as num_settings
    from backtest
    where backtest.ticker = asked.ticker and backtest.trained_on <= asked.trained_on
) as tested;
