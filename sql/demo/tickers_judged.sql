-- Tickers whose newest verdict is younger than every bar that the training could see, and of the present recipe.
select count(*)
from (
    select distinct on (ticker) ticker, trained_on, checkpoint_id, decided_at
    from gate_verdict
    where ticker = any (%(tickers)s)
    order by ticker, decided_at desc
) as verdict
left join checkpoint using (checkpoint_id)
where verdict.trained_on = %(session)s
  and (checkpoint.recipe_sha256 is null or checkpoint.recipe_sha256 = %(recipe_sha256)s)
  and not exists (
      select from bar
      where bar.ticker = verdict.ticker and bar.session <= %(session)s and bar.recorded_at > verdict.decided_at);
