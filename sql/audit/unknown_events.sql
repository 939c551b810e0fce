select event_id, event, ticker, run_date
from ledger_event
where event is null or event not in ('forecast', 'fill', 'void', 'restatement', 'promotion', 'retirement')
order by event_id
limit 100;
