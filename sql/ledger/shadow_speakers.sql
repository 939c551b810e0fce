-- Of each ticker with a row: its newest candidate, where it is newer than the model that the row names or else the active
-- one, and the model that retired last. Only networks trained in time, whose content is neither the row's nor the active
-- one's: a model that was brought back stands in the registry twice.
with asked as (
    select s.ticker, s.checkpoint_sha256, s.window_sha256, s.bars_recorded_until, active.file_sha256 as active_sha256,
           newest.trained_on, newest.checkpoint_id, time.trained_until
    from snapshot s
    cross join (select %(run_date)s::date - %(simulated)s::boolean::integer as trained_until) time
    left join checkpoint active on active.ticker = s.ticker and active.status = 'active'
    left join lateral (
        select c.trained_on, c.checkpoint_id from checkpoint c
        where c.checkpoint_id in (s.checkpoint_id, active.checkpoint_id)
          and c.status <> 'candidate' and c.trained_on <= time.trained_until
        order by c.checkpoint_id = s.checkpoint_id desc nulls last limit 1
    ) newest on true
    where s.run_date = %(run_date)s and s.ticker = any (%(tickers)s::text[])
), candidates as (
    select distinct on (ticker) c.*
    from asked join checkpoint c using (ticker)
    where c.status = 'candidate' and c.trained_on <= asked.trained_until
    order by ticker, c.trained_on desc, c.checkpoint_id desc
), retired as (
    select distinct on (ticker) c.*
    from asked join checkpoint c using (ticker)
    where c.status = 'retired' and c.trained_on <= asked.trained_until
      and c.file_sha256 is distinct from asked.checkpoint_sha256
      and c.file_sha256 is distinct from asked.active_sha256
    order by ticker, c.retired_at desc, c.checkpoint_id desc
)
select ticker, c.checkpoint_id, c.status, c.version, c.trained_on, c.file_name, c.file_sha256, true as in_time,
       c.file_removed_at is not null as is_removed, asked.window_sha256, asked.bars_recorded_until
from (select * from candidates union all select * from retired) c
join asked using (ticker)
where c.status = any (%(statuses)s::text[])
  and c.file_sha256 is distinct from asked.checkpoint_sha256
  and c.file_sha256 is distinct from asked.active_sha256
  and (c.status = 'retired' or asked.checkpoint_id is null
       or (c.trained_on, c.checkpoint_id) > (asked.trained_on, asked.checkpoint_id))
order by ticker, c.status;
