insert into evening_attempt (session, ticker)
select session, ticker
from unnest(%(sessions)s::date[], %(tickers)s::text[]) as cell (session, ticker)
order by session, ticker
on conflict (session, ticker) do update set
    num_attempts = evening_attempt.num_attempts + 1, last_attempt_at = clock_timestamp(), done_at = null, reason = null;
