-- Sessions that have opened stay as they are. One ahead that the exchange has called off goes, unless a forecast speaks
-- about it: that one then stays without an actual.
with given as (
    select * from unnest(%(sessions)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
        as g (session, opens_at, closes_at)
), called_off as (
    delete from trading_session
    where opens_at > clock_timestamp()
      and session between (select min(session) from given) and (select max(session) from given)
      and not exists (select from given where given.session = trading_session.session)
      and not exists (
          select from snapshot
          where trading_session.session in (run_date, next_day_session, next_monday_session, one_month_session))
)
insert into trading_session (session, opens_at, closes_at)
select given.session, given.opens_at, given.closes_at
from given left join trading_session known using (session)
where known.session is null
   or (known.opens_at > clock_timestamp()
       and (known.opens_at, known.closes_at) is distinct from (given.opens_at, given.closes_at))
on conflict (session) do update set opens_at = excluded.opens_at, closes_at = excluded.closes_at;
