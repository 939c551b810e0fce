-- The model that may speak for each ticker; one that saw too much comes only when there is no other, to be named.
-- For an evening that is past, as it is once the next session has opened, a model that was retired since may speak
-- where the active one may not.
select distinct on (ticker)
    ticker, checkpoint_id, status, version, trained_on, file_name, file_sha256,
    trained_on <= %(trained_until)s as in_time
from checkpoint
where ticker = any (%(tickers)s::text[]) and file_removed_at is null
  and (status = 'active'
       or (status = 'candidate' and %(candidates_may_speak)s)
       or (status = 'retired' and (%(simulated)s or clock_timestamp() >= (
           select opens_at from trading_session where session > %(run_date)s order by session limit 1))))
order by ticker, in_time desc, case status when 'active' then 1 when 'retired' then 2 else 3 end,
         trained_on desc, checkpoint_id desc;
