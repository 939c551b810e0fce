-- name: begin_attempt
insert into evening_attempt (session, ticker)
select session, ticker
from unnest(%(sessions)s::date[], %(tickers)s::text[]) as cell (session, ticker)
order by session, ticker
on conflict (session, ticker) do update set
    num_attempts = evening_attempt.num_attempts + 1, last_attempt_at = clock_timestamp(), done_at = null, reason = null;

-- name: finish_attempt
update evening_attempt set
    done_at = case when cell.reason is null then clock_timestamp() end, reason = cell.reason
from unnest(%(sessions)s::date[], %(tickers)s::text[], %(reasons)s::text[]) as cell (session, ticker, reason)
where (evening_attempt.session, evening_attempt.ticker) = (cell.session, cell.ticker);

-- name: newest_attempt
select max(last_attempt_at) from evening_attempt;

-- name: resolvable_alerts
-- Open alerts of partitions that are complete now, or no longer pending: the latter are given up if they were attempted.
select trouble.key, a.ticker is not null and a.done_at is null as is_given_up
from trouble
left join evening_attempt a on a.session = trouble.evening
    and trouble.key = trouble.kind || '/' || to_char(a.session, 'YYYY-MM-DD') || '/' || a.ticker
where trouble.kind in ('ticker', 'deadline') and trouble.ended_at is null
  and (a.done_at is not null
       or not exists (select from unnest(%(pending)s::text[]) as partition where trouble.key = trouble.kind || '/' || partition))
order by trouble.key;

-- name: give_up
-- Noted before the alerts are resolved, so that nobody takes the work for completed.
update trouble set summary = 'given up: ' || summary
where key = any (%(keys)s::text[]) and ended_at is null;

-- name: freshness
-- What there is of one session: the given one, or the newest that has closed. A bar counts from its session's close on.
with evening as (
    select t.session, t.closes_at,
           (select later.opens_at from trading_session later where later.session > t.session
            order by later.session limit 1) as deadline
    from trading_session t
    where t.session = coalesce(%(session)s::date,
                               (select max(session) from trading_session where closes_at <= clock_timestamp()))
      and t.closes_at <= clock_timestamp()
), expected as (
    select u.ticker, u.place, s.kind, s.abstained_reason is not null as has_abstained,
           exists (select from bar where bar.ticker = u.ticker and bar.session = e.session
                                     and bar.recorded_at >= e.closes_at) as has_bar
    from evening e
    join unnest(%(tickers)s::text[], %(leaves)s::date[]) with ordinality u (ticker, leaves, place)
      on u.leaves is null or e.session < u.leaves
    left join snapshot s on s.ticker = u.ticker and s.run_date = e.session
)
select e.session, e.deadline, clock_timestamp() as moment,
       (select count(*) from expected) as num_tickers,
       array(select ticker from expected where not has_bar order by place) as without_bar,
       array(select ticker from expected where kind is null order by place) as without_row,
       array(select ticker from expected where kind = 'late' order by place) as late,
       (select count(*) from expected where kind = 'live') as num_live,
       (select count(*) from expected where kind = 'simulated') as num_simulated,
       (select count(*) from expected where has_abstained) as num_abstained,
       array(select ticker || ' ' || run_date || ', ' || replace(horizon, '_', ' ') from open_fill
             where has_closed and actual is not null and target_session <= e.session
             order by run_date, ticker, target_session, horizon) as unfilled
from evening e;

-- name: not_retrained
-- Tickers of which bars are there that the gate's newest judgement of a training knows nothing of, for too many days.
-- With each when that judgement was. One that was never trained counts from when its first bar was recorded.
with late as (
    select clock_timestamp() - make_interval(days => %(days)s) as since
)
select u.ticker, judged.decided_at
from late
cross join unnest(%(tickers)s::text[]) with ordinality u (ticker, place)
left join lateral (
    select decided_at, trained_on from gate_verdict
    where gate_verdict.ticker = u.ticker and trained_on is not null
    order by verdict_id desc limit 1
) judged on true
where case
          when judged.decided_at is null
          then exists (select from bar where bar.ticker = u.ticker and bar.recorded_at < since)
          else judged.decided_at < since
              and exists (select from bar where bar.ticker = u.ticker and bar.session > judged.trained_on)
      end
order by u.place;

-- name: sessions_with_gaps
-- Those of some (session, ticker) pairs' sessions on which a ticker has no row although its record had begun.
select distinct session
from unnest(%(sessions)s::date[], %(tickers)s::text[]) as expected (session, ticker)
join record_beginning(array(select distinct unnest(%(tickers)s::text[]))) using (ticker)
where began_on <= session
  and not exists (select from snapshot s where s.ticker = expected.ticker and s.run_date = expected.session);

-- name: pending_partitions
-- A ticker is made up for from where its record begins (`record_beginning`) on; before that only its newest evening counts. It
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
