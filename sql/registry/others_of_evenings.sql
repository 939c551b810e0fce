-- The newest evidence on further tickers that were judged on some evenings: the test of each multiplied by the settings
-- that were tried. Left out is a ticker on the evening that it is judged for now, and on no other one.
select distinct on (trained_on, ticker)
       trained_on, ticker,
       least(1, (evidence ->> 'timing_p')::double precision * (standing ->> 'num_settings')::double precision) as p_value,
       (evidence ->> 'coin_passes')::double precision as coin_passes
from gate_verdict
where trained_on = any(%(evenings)s::date[])
  and (trained_on, ticker) not in (select * from unnest(%(trained_on)s::date[], %(tickers)s::text[]))
  and evidence is not null and standing is not null
order by trained_on, ticker, verdict_id desc;
