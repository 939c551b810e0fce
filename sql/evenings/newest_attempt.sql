select max(last_attempt_at) from evening_attempt;
