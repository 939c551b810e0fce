-- Whom a stranger has to believe that a live forecast came in time: nobody, where a time stamp of somebody else's over
-- its seal is of before the open; whoever kept the seal, where it was sealed before; the owner, where it was not.
select count(*) as num_live,
       count(*) filter (where sealed_at < opens_at) as num_sealed_in_time,
       count(*) filter (where stamped_at < opens_at) as num_stamped_in_time,
       min(run_date) filter (where sealed_at is null or sealed_at >= opens_at) as first_unsealed
from (
    select s.run_date,
           (%(opens)s::timestamptz[])[pg_catalog.width_bucket(s.run_date, %(sessions)s::date[]) + 1] as opens_at,
           (%(sealed_at)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])] as sealed_at,
           (%(stamped_at)s::timestamptz[])[pg_catalog.width_bucket(e.event_id, %(first_events)s::bigint[])] as stamped_at
    from snapshot s
    join ledger_event e on e.event = 'forecast' and e.ticker = s.ticker and e.run_date = s.run_date
    where s.kind = 'live' and s.abstained_reason is null
) live;
