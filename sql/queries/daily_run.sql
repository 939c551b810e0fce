-- name: begin_attempt
insert into daily_attempt (session, ticker)
select session, ticker
from unnest(%(sessions)s::date[], %(tickers)s::text[]) as partition (session, ticker)
order by session, ticker
on conflict (session, ticker) do update set
    num_attempts = daily_attempt.num_attempts + 1, last_attempt_at = clock_timestamp(), done_at = null, reason = null;

-- name: finish_attempt
update daily_attempt set
    done_at = case when partition.reason is null then clock_timestamp() end, reason = partition.reason
from unnest(%(sessions)s::date[], %(tickers)s::text[], %(reasons)s::text[]) as partition (session, ticker, reason)
where (daily_attempt.session, daily_attempt.ticker) = (partition.session, partition.ticker);

-- name: newest_attempt
select max(last_attempt_at) from daily_attempt;

-- name: resolvable_alerts
-- Open alerts of partitions that are complete now, or no longer pending: the latter are given up if they were
-- attempted.
select alert.key, a.ticker is not null and a.done_at is null as is_given_up
from alert
left join daily_attempt a on a.session = alert.session
    and alert.key = alert.kind || '/' || to_char(a.session, 'YYYY-MM-DD') || '/' || a.ticker
where alert.kind in ('ticker', 'deadline') and alert.resolved_at is null
  and (a.done_at is not null
       or not exists (select from unnest(%(pending)s::text[]) as partition where alert.key = alert.kind || '/' || partition))
order by alert.key;

-- name: give_up
-- Recorded before the alerts are resolved, so that their resolution does not read as completed work.
update alert set summary = 'given up: ' || summary
where key = any (%(keys)s::text[]) and resolved_at is null;

-- name: freshness
-- Freshness of one session: the given one, or the newest that has closed and has partitions. Bars recorded before the
-- close do not count, and a session after the last partition expects no ticker.
with judged as (
    select t.session, t.closes_at,
           (select later.opens_at from trading_session later where later.session > t.session
            order by later.session limit 1) as deadline
    from trading_session t
    where t.session = coalesce(%(session)s::date,
                               (select max(session) from trading_session
                                where closes_at <= clock_timestamp()
                                  and session <= coalesce(%(last_partition)s::date, 'infinity')))
      and t.closes_at <= clock_timestamp()
), expected as (
    select u.ticker, u.place, s.kind, s.abstained_reason is not null as has_abstained,
           coalesce(e.first_session <= j.session, false) as is_in_service,
           exists (select from bar where bar.ticker = u.ticker and bar.session = j.session
                                     and bar.recorded_at >= j.closes_at) as has_bar
    from judged j
    join unnest(%(tickers)s::text[], %(removed_on)s::date[]) with ordinality u (ticker, removed_on, place)
      on (u.removed_on is null or j.session < u.removed_on)
        and j.session <= coalesce(%(last_partition)s::date, 'infinity')
    left join service_entry e on e.ticker = u.ticker
    left join snapshot s on s.ticker = u.ticker and s.run_date = j.session and s.simulation_id = 0
)
select j.session, j.deadline, clock_timestamp() as moment,
       (select count(*) from expected) as num_tickers,
       array(select ticker from expected where not has_bar order by place) as without_bar,
       array(select ticker from expected where kind is null and is_in_service order by place) as without_row,
       array(select ticker from expected where not is_in_service order by place) as not_in_service,
       array(select ticker from expected where kind = 'late' order by place) as late,
       (select count(*) from expected where kind = 'live') as num_live,
       (select count(*) from snapshot s
        where s.run_date = j.session and s.simulation_id > 0
          and s.simulation_id = (select max(simulation_id) from snapshot where simulation_id > 0)) as num_simulated,
       (select count(*) from expected where has_abstained) as num_abstained,
       array(select ticker || ' ' || run_date || ', ' || replace(horizon, '_', ' ') from open_fill
             where has_closed and actual is not null and target_session <= j.session
             order by run_date, ticker, target_session, horizon) as unfilled
from judged j;

-- name: not_retrained
-- Tickers with bars newer than the training that the gate judged last, whose last judgement is too many days old, and
-- the time of that judgement. For a ticker that was never trained, the days count from the recording of its first bar.
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
-- The sessions among the given (session, ticker) pairs without a row, from the ticker's entry into service on.
select distinct session
from unnest(%(sessions)s::date[], %(tickers)s::text[]) as expected (session, ticker)
join service_entry using (ticker)
where first_session <= session
  and not exists (select from snapshot s
                  where s.ticker = expected.ticker and s.run_date = expected.session and s.simulation_id = 0);

-- name: pending_partitions
-- A ticker is caught up from its entry into service; before that nothing of it is pending. The search for a ticker
-- starts at its first session without a row, which may be before the catch-up's first session. A fill whose bar arrived
-- after its daily run belongs to the session of that bar, or to the first one searched.
with catch_up as (
    select %(sessions)s::date[] as sessions, %(first)s::date as first
), universe as (
    select ticker, removed_on, first_session as in_service_from
    from unnest(%(tickers)s::text[], %(removed_on)s::date[]) as u (ticker, removed_on)
    join service_entry using (ticker)
), place as (
    select ticker, removed_on, in_service_from,
           width_bucket(first, sessions) as of_first,
           width_bucket(in_service_from - 1, sessions) + 1 as of_entry,
           least(width_bucket(first, sessions), width_bucket(removed_on - 1, sessions) + 1) as of_end
    from universe, catch_up
), search_start as (
    select ticker, removed_on, in_service_from,
           coalesce(
               case when (select count(*) from snapshot s
                          where s.ticker = place.ticker and s.run_date >= sessions[of_entry]
                            and s.run_date <= sessions[of_end - 1] and s.simulation_id = 0) < of_end - of_entry
                    then (select of_entry - 1 + n
                          from unnest(sessions[of_entry:of_end - 1]) with ordinality as missing (session, n)
                          where not exists (select from snapshot s
                                            where s.ticker = place.ticker and s.run_date = missing.session
                                              and s.simulation_id = 0)
                          order by n limit 1)
               end, of_first) as since
    from place, catch_up
), fillable as (
    select distinct ticker, greatest(target_session, first) as session
    from open_fill, catch_up
    where target_session <= %(newest)s and has_closed and actual is not null
), partition as (
    select session, ticker, in_service_from, f.ticker is not null as has_fill,
           coalesce(session < removed_on, true) and in_service_from <= session as needs_row
    from catch_up
    cross join search_start
    cross join unnest(sessions[since:]) as session
    left join fillable f using (session, ticker)
), oldest as (
    select sessions[min(since)] as session from search_start, catch_up group by sessions
), on_record as (
    select ticker, run_date from universe join snapshot using (ticker)
    where run_date >= (select session from oldest) and simulation_id = 0
), attempt as (
    select * from daily_attempt where session >= (select session from oldest)
), attempted as (
    select partition.*, s.run_date is null and needs_row as lacks_row,
           a.num_attempts, a.last_attempt_at, a.done_at, a.reason,
           a.done_at is null and exists (
               select from bar
               where bar.ticker = partition.ticker and bar.session = partition.session and bar.recorded_at > a.last_attempt_at
           ) as has_new_bar
    from partition
    left join on_record s on (s.ticker, s.run_date) = (partition.ticker, partition.session)
    left join attempt a on (a.session, a.ticker) = (partition.session, partition.ticker)
)
select session, ticker, lacks_row, has_new_bar,
       done_at is not null as is_done, coalesce(num_attempts, 0) as num_attempts, last_attempt_at, reason
from attempted
where has_fill
   or lacks_row
   or (needs_row and num_attempts > 0 and done_at is null
       and (reason is null or has_new_bar or session >= %(awaited_since)s))
order by session, ticker;

-- name: try_command_lock
-- Held until the connection ends: the lock of a command that is killed is released.
select pg_try_advisory_lock(hashtextextended('ldtm command of ' || current_schema(), 0));

-- name: session_rows
-- Rows of some tickers on a session by kind, and how many of them abstain.
select kind, count(*)::int as num_rows, count(abstained_reason)::int as num_abstained
from snapshot
where run_date = %(session)s and ticker = any(%(tickers)s::text[])
group by kind
order by kind;

-- name: num_filled
-- Actuals on record of some tickers, over all horizons.
select (count(next_day_actual) + count(next_monday_actual) + count(one_month_actual))::int
from snapshot
where ticker = any(%(tickers)s::text[]);
