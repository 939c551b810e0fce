insert into training_failure (ticker, part, trained_on, architecture_sha256, recipe_sha256, data_sha256, reason)
select * from unnest(
    %(tickers)s::text[], %(parts)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[],
    %(data)s::text[], %(reasons)s::text[])
on conflict (ticker, part, trained_on, architecture_sha256, recipe_sha256, data_sha256)
do update set reason = excluded.reason, failed_at = excluded.failed_at;
