delete from evening_attempt
where (session, ticker) in (
    select session, ticker from evening_attempt where last_attempt_at < %(before)s order by session limit %(limit)s);
