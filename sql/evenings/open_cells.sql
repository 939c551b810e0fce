-- A ticker is made up for from where its record begins (schema 0016) on; before that only its newest evening counts. It
-- is looked at further back than the others from its first session without a row on. A fill whose bar came after its
-- evening belongs to the session of its bar, or to the first one that is looked at.
with partition as (
    select %(sessions)s::date[] as sessions, %(first)s::date as first
), universe as (
    select ticker, leaves_on, began_on
    from unnest(%(tickers)s::text[], %(leaves_on)s::date[]) as u (ticker, leaves_on)
    join record_beginning(%(tickers)s::text[]) using (ticker)
), place as (
    select ticker, leaves_on, began_on,
           width_bucket(first, sessions) as of_first,
           width_bucket(began_on - 1, sessions) + 1 as of_beginning,
           least(width_bucket(first, sessions), width_bucket(leaves_on - 1, sessions) + 1) as of_end
    from universe, partition
), looked_at_from as (
    select ticker, leaves_on, began_on,
           coalesce(
               case when (select count(*) from snapshot s
                          where s.ticker = place.ticker and s.run_date >= sessions[of_beginning]
                            and s.run_date <= sessions[of_end - 1]) < of_end - of_beginning
                    then (select of_beginning - 1 + n
                          from unnest(sessions[of_beginning:of_end - 1]) with ordinality as missing (session, n)
                          where not exists (select from snapshot s
                                            where s.ticker = place.ticker and s.run_date = missing.session)
                          order by n limit 1)
               end, of_first) as since
    from place, partition
), fillable as (
    select distinct ticker, greatest(target_session, first) as session
    from open_fill, partition
    where target_session <= %(newest)s and has_closed and actual is not null
), cell as (
    select session, ticker, began_on, f.ticker is not null as has_fill,
           coalesce(session < leaves_on, true) as is_of_universe
    from partition
    cross join looked_at_from
    cross join unnest(sessions[since:]) as session
    left join fillable f using (session, ticker)
), oldest as (
    select sessions[min(since)] as session from looked_at_from, partition group by sessions
), on_record as (
    select ticker, run_date from universe join snapshot using (ticker) where run_date >= (select session from oldest)
), attempt as (
    select * from evening_attempt where session >= (select session from oldest)
), looked_at as (
    select cell.*, s.run_date is null and is_of_universe as lacks_row,
           a.num_attempts, a.last_attempt_at, a.done_at, a.reason,
           a.done_at is null and exists (
               select from bar
               where bar.ticker = cell.ticker and bar.session = cell.session and bar.recorded_at > a.last_attempt_at
           ) as bar_came
    from cell
    left join on_record s on (s.ticker, s.run_date) = (cell.ticker, cell.session)
    left join attempt a on (a.session, a.ticker) = (cell.session, cell.ticker)
)
select session, ticker, lacks_row, coalesce(began_on <= session, false) as has_begun, bar_came,
       done_at is not null as is_done, coalesce(num_attempts, 0) as num_attempts, last_attempt_at, reason
from looked_at
where has_fill
   or (lacks_row and (began_on <= session or session = %(newest)s or num_attempts > 0))
   or (is_of_universe and num_attempts > 0 and done_at is null
       and (reason is null or bar_came or session >= %(waited_for_since)s))
order by session, ticker;
