-- The model that may speak for each ticker; one that saw too much comes only when there is no other, to be named.
select distinct on (ticker)
    ticker, checkpoint_id, status, version, trained_on, file_name, file_sha256,
    trained_on <= %(trained_until)s as in_time
from checkpoint
where ticker = any (%(tickers)s::text[])
  and (status = 'active' or (status = 'candidate' and %(candidates_may_speak)s))
order by ticker, in_time desc, status = 'active' desc, trained_on desc, checkpoint_id desc;
