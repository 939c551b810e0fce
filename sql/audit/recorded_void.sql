select target_session, reason, wait_sessions, voided_at
from voided_fill where ticker = %(ticker)s and run_date = %(run_date)s and horizon = %(horizon)s;
