select ticker, session, reason, bar::text, source, first_seen_at, last_seen_at
from quarantined_bar where resolved_at is null
order by ticker, session, first_seen_at;
