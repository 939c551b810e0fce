select event_id, event, ticker, run_date, horizon::text, vintage, checkpoint_id, leaf
from ledger_event where event_id = any (%(event_ids)s::bigint[]) order by event_id;
