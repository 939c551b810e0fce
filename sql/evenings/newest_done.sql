select max(session) from evening_attempt where done_at is not null;
