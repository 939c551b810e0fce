select count(*) as num_events, coalesce(max(event_id) + 1, 0) as end_of_chain from ledger_event;
