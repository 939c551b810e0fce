-- Checkpoints that nobody needs the file of: neither among the newest of their kind, nor the newest network of their
-- ticker, nor referred to by a forecast, nor sharing the file with one that stays.
with asked as (
    select checkpoint_id, ticker, status, trained_on, restores, retired_at, file_name, file_removed_at
    from checkpoint
    where %(tickers)s::text[] is null or ticker = any(%(tickers)s::text[])
), ranked as (
    select checkpoint_id, ticker, status, file_name,
           row_number() over (
               partition by ticker, status order by retired_at desc, trained_on desc, checkpoint_id desc) as place
    from asked
    where file_removed_at is null
), newest as (
    select distinct on (ticker) checkpoint_id
    from asked
    where restores is null
    order by ticker, trained_on desc, checkpoint_id desc
), removable as (
    select checkpoint_id, file_name
    from ranked
    where ((status = 'retired' and place > %(kept_retired)s) or (status = 'candidate' and place > %(kept_candidates)s))
      and checkpoint_id not in (select checkpoint_id from newest)
      and not exists (select from snapshot where snapshot.checkpoint_id = ranked.checkpoint_id)
      and not exists (select from shadow_forecast where shadow_forecast.checkpoint_id = ranked.checkpoint_id)
)
select checkpoint_id
from removable
where file_name not in (
    select file_name from checkpoint
    where file_removed_at is null and checkpoint_id not in (select checkpoint_id from removable))
order by checkpoint_id;
