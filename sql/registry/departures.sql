-- Networks of some tickers that an order took out, each with the order that ended its last stay: a retirement, or a
-- rollback to another network. All tickers when none are named.
with promoted as (
    select checkpoint_id, ticker, version, status, trained_on, activated_at,
           coalesce(restores, checkpoint_id) as network_id,
           lead(checkpoint_id) over later as next_id, lead(version) over later as next_version
    from checkpoint
    where status <> 'candidate' and (%(tickers)s::text[] is null or ticker = any(%(tickers)s::text[]))
    window later as (partition by ticker order by activated_at, checkpoint_id)
), newest as (
    select distinct on (ticker) checkpoint_id as network_id
    from checkpoint
    where restores is null and (%(tickers)s::text[] is null or ticker = any(%(tickers)s::text[]))
    order by ticker, trained_on desc, checkpoint_id desc
)
select distinct on (p.ticker, p.network_id)
       p.ticker, p.network_id, p.version, o.action, o.ordered_by, o.why, o.ordered_at,
       case when o.action = 'rollback' then p.next_version end as instead,
       p.network_id in (select network_id from newest) as is_newest,
       exists (select from promoted a where a.network_id = p.network_id and a.status = 'active') as is_back,
       p.next_id is null as is_last
from promoted p
join registry_order o
  on (o.checkpoint_id = p.checkpoint_id and o.action = 'retirement')
  or (o.checkpoint_id = p.next_id and o.action = 'rollback')
order by p.ticker, p.network_id, p.activated_at desc, p.checkpoint_id desc, o.order_id;
