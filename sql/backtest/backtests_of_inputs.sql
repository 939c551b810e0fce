select backtest_id, ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256
from backtest
join unnest(%(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[])
    as input (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
    using (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
where plan_sha256 = %(plan)s;
