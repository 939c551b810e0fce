-- A session was waited for only if the store has bars of it: while the source is silent, nobody is halted.
with overdue as (
    select o.ticker, o.run_date, o.horizon, f.target_session, o.noticed_at
    from overdue_fill o
    join open_fill f on (f.ticker, f.run_date, f.horizon) = (o.ticker, o.run_date, o.horizon::text)
    where f.has_closed and f.actual is null and f.target_session <= %(as_of)s
      and (%(tickers)s::text[] is null or f.ticker = any (%(tickers)s::text[]))
), delivered as (
    select distinct t.session, t.opens_at
    from bar join trading_session t on t.session = bar.session and bar.recorded_at >= t.closes_at
    where bar.recorded_at >= (select min(noticed_at) from overdue)
), waited as (
    select overdue.*, (select count(*) from delivered where opens_at > noticed_at) as num_sessions,
           (select max(session) from bar where bar.ticker = overdue.ticker) as newest
    from overdue
)
insert into voided_fill (ticker, run_date, horizon, reason, wait_sessions)
select ticker, run_date, horizon,
       case when newest > target_session
            then format('did not trade on %%s: it has later bars, and none of that session after %%s sessions',
                        target_session, num_sessions)
            when newest is not null
            then format('halted or delisted: its newest bar is of %%s, and none came in %%s sessions', newest, num_sessions)
            else format('has no bar at all, and none came in %%s sessions', num_sessions) end,
       %(wait_sessions)s
from waited
where num_sessions >= %(wait_sessions)s
order by ticker, run_date, horizon
returning ticker, run_date, horizon, target_session, reason;
