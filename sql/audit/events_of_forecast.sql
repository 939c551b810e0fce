select event_id from ledger_event where ticker = %(ticker)s and run_date = %(run_date)s order by event_id;
