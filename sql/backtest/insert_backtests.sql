insert into backtest (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, plan_sha256, window_leaks)
select * from unnest(
    %(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[],
    %(plans)s::text[], %(window_leaks)s::jsonb[])
on conflict do nothing
returning backtest_id, ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256;
