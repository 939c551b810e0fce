-- How often a ticker was trained until a session, whether a network came of it or not, and with how many settings it was
-- tried: what a backtest was made with, and the neutral band that it was judged by, then or now.
select asked.ticker, trained.num_trainings, tested.num_settings
from unnest(%(tickers)s::text[], %(trained_on)s::date[], %(backtest_ids)s::bigint[]) as asked (ticker, trained_on, backtest_id)
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
    select count(*) as num_settings
    from (select architecture_sha256, recipe_sha256, plan_sha256, %(neutral_band)s::double precision as neutral_band
          from backtest
          where backtest.ticker = asked.ticker and backtest.trained_on <= asked.trained_on
            and (backtest.backtest_id = asked.backtest_id
                 or not exists (select from gate_verdict
                                where gate_verdict.backtest_id = backtest.backtest_id and evidence is not null))
          union
          select architecture_sha256, recipe_sha256, plan_sha256, (evidence ->> 'neutral_band')::double precision
          from backtest
          join gate_verdict using (backtest_id)
          where backtest.ticker = asked.ticker and backtest.trained_on <= asked.trained_on and evidence is not null) settings
) as tested;
