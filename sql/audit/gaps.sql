select previous + 1 as first_missing, event_id - 1 as last_missing
from (select event_id, lag(event_id, 1, -1::bigint) over (order by event_id) as previous from ledger_event) e
where event_id > previous + 1
order by event_id
limit 100;
