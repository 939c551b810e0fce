-- A ticker is made up for from its first forecast on that is none of a backfill; before that only its newest evening counts.
-- A fill whose bar came after its evening belongs to the session of its bar, or to the first one that is looked at.
with universe as (
    select ticker, leaves_on,
           (select min(run_date) from snapshot s where s.ticker = u.ticker and s.kind <> 'simulated') as began_on
    from unnest(%(tickers)s::text[], %(leaves_on)s::date[]) as u (ticker, leaves_on)
), fillable as (
    select distinct ticker, greatest(target_session, %(first)s::date) as session
    from open_fill
    where target_session <= %(newest)s and has_closed and actual is not null
), cell as (
    select session, ticker, began_on, f.ticker is not null as has_fill,
           coalesce(session < leaves_on, true) as is_of_universe
    from universe
    cross join unnest(%(sessions)s::date[]) as session
    left join fillable f using (session, ticker)
), on_record as (
    select ticker, run_date from universe join snapshot using (ticker) where run_date >= %(first)s
), looked_at as (
    select cell.*, s.run_date is null and is_of_universe as lacks_row,
           a.num_attempts, a.last_attempt_at, a.done_at, a.reason,
           a.done_at is null and exists (
               select from bar
               where bar.ticker = cell.ticker and bar.session = cell.session and bar.recorded_at > a.last_attempt_at
           ) as bar_came
    from cell
    left join on_record s on (s.ticker, s.run_date) = (cell.ticker, cell.session)
    left join evening_attempt a on (a.session, a.ticker) = (cell.session, cell.ticker) and a.session >= %(first)s
)
select session, ticker, lacks_row, coalesce(began_on <= session, false) as has_begun, bar_came,
       done_at is not null as is_done, coalesce(num_attempts, 0) as num_attempts, last_attempt_at, reason
from looked_at
where (lacks_row and (began_on <= session or session = %(newest)s or num_attempts > 0))
   or (num_attempts > 0 and done_at is null and (reason is null or bar_came or session >= %(waited_for_since)s))
   or has_fill
order by session, ticker;
