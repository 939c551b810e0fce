select f.target_session, f.actual, f.pct_error, f.direction_actual, f.direction_correct, f.filled_at
from snapshot s
cross join lateral (values
    ('next_day', s.next_day_session, s.next_day_actual, s.next_day_pct_error,
     s.next_day_direction_actual, s.next_day_direction_correct, s.next_day_filled_at),
    ('next_monday', s.next_monday_session, s.next_monday_actual, s.next_monday_pct_error,
     null::text, null::boolean, s.next_monday_filled_at),
    ('one_month', s.one_month_session, s.one_month_actual, s.one_month_pct_error,
     null::text, null::boolean, s.one_month_filled_at)
) f (horizon, target_session, actual, pct_error, direction_actual, direction_correct, filled_at)
where s.ticker = %(ticker)s and s.run_date = %(run_date)s and f.horizon = %(horizon)s and f.actual is not null;
