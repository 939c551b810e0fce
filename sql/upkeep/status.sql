-- One row: how one evening was tried, what waits, who speaks, and how much room the tables take.
select clock_timestamp() as moment,
       a.num_tried, a.num_done, a.num_attempts, a.first_attempt_at, a.last_attempt_at,
       f.num_without_bar, f.oldest_without_bar,
       (select count(*) from quarantined_bar where resolved_at is null) as num_refused_bars,
       (select array_agg(ticker order by ticker) from checkpoint
        where status = 'active' and ticker = any (%(tickers)s::text[])) as speaking,
       p.ticker || ' ' || p.version as newest_promotion, p.activated_at as promoted_at,
       pg_database_size(current_database()) as database_bytes
from (
    select count(*) as num_tried, count(done_at) as num_done, max(num_attempts) as num_attempts,
           min(first_attempt_at) as first_attempt_at, max(last_attempt_at) as last_attempt_at
    from evening_attempt where session = %(session)s and ticker = any (%(tickers)s::text[])
) a
cross join (
    select count(*) as num_without_bar, min(target_session) as oldest_without_bar
    from open_fill where has_closed and actual is null
) f
left join (
    select ticker, version, activated_at from checkpoint where activated_at is not null
    order by activated_at desc, checkpoint_id desc limit 1
) p on true;
