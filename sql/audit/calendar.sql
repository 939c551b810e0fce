-- Opened sessions that the database knows otherwise than the exchange's calendar does, either way.
select coalesce(known.session, given.session) as session, known.opens_at, given.opens_at as calendar_opens_at
from (select session, opens_at, closes_at from trading_session where opens_at <= clock_timestamp()) known
full join (
    select * from unnest(%(sessions)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
        as g (session, opens_at, closes_at)
    where opens_at <= clock_timestamp()
) given using (session)
where (known.opens_at, known.closes_at) is distinct from (given.opens_at, given.closes_at)
order by 1
limit 100;
