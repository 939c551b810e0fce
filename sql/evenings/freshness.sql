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
