select f.target_session, f.actual, f.pct_error, f.direction_actual, f.direction_correct, f.filled_at
from snapshot s cross join lateral fills_of(s) f
where s.ticker = %(ticker)s and s.run_date = %(run_date)s and f.horizon = %(horizon)s;
