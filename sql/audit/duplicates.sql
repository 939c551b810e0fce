select max(event_id), event, ticker, run_date, horizon::text
from ledger_event
group by event, ticker, run_date, horizon, vintage, checkpoint_id
having count(*) > 1
order by max(event_id)
limit 100;
