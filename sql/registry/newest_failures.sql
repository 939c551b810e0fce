select distinct on (ticker) ticker, trained_on, reason
from training_failure
where ticker = any(%(tickers)s::text[]) and part = 'checkpoint'
order by ticker, trained_on desc, failed_at desc;
