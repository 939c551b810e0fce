select target_session, bar_recorded_at, actual, restated_actual, noticed_at
from restated_actual
where ticker = %(ticker)s and run_date = %(run_date)s and horizon = %(horizon)s and bar_recorded_at = %(vintage)s;
