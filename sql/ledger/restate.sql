-- Bars recorded since the last search; an hour more for those that were dated before it and committed after it. What
-- the newest vintage says is news if it differs from what is on record and from what the last restatement said.
with since as (
    select coalesce(max(scanned_until), '-infinity') - interval '1 hour' as moment from restatement_scan
), scanned as (
    insert into restatement_scan default values returning scanned_until
), changed as (
    select bar.ticker, bar.session, bar.recorded_at, bar.close
    from bar, since
    where bar.recorded_at > since.moment
      and not exists (
          select from bar newer
          where newer.ticker = bar.ticker and newer.session = bar.session and newer.recorded_at > bar.recorded_at)
), settled as (
    select s.ticker, s.run_date, s.bars_recorded_until, f.horizon, f.target_session, f.actual, f.settled_at,
           changed.recorded_at, changed.close
    from changed
    join trading_session t on t.session = changed.session and changed.recorded_at >= t.closes_at
    join snapshot s on s.ticker = changed.ticker
        and s.run_date < changed.session and s.run_date >= changed.session - 45
    cross join lateral (
        select f.horizon, f.target_session, f.actual, f.filled_at as settled_at from fills_of(s) f
        union all
        select v.horizon::text, v.target_session, null, v.voided_at from voided_fill v
        where v.ticker = s.ticker and v.run_date = s.run_date
    ) f
    where f.target_session = changed.session and changed.recorded_at > f.settled_at - interval '1 hour'
)
insert into restated_actual (ticker, run_date, horizon, bar_recorded_at)
select settled.ticker, settled.run_date, settled.horizon, settled.recorded_at
from settled
left join lateral (
    select restated_actual from restated_actual r
    where r.ticker = settled.ticker and r.run_date = settled.run_date and r.horizon = settled.horizon
    order by r.bar_recorded_at desc limit 1
) earlier on true
cross join lateral (
    select settled.close * (
        select product(split.ratio order by split.session) from split
        where split.ticker = settled.ticker and split.session > settled.run_date
          and split.recorded_at > settled.bars_recorded_until) as value
) now
where coalesce(earlier.restated_actual, settled.actual) is null
   or abs(now.value - coalesce(earlier.restated_actual, settled.actual)) > 1e-9 * now.value
order by settled.ticker, settled.run_date, settled.horizon
on conflict do nothing
returning ticker, run_date, horizon, target_session, actual, restated_actual, bar_recorded_at;
