-- The evidence of further tickers that were judged on the same evenings: the test of each multiplied by the settings that were tried.
select distinct on (trained_on, ticker)
       trained_on, ticker,
       least(1, (evidence ->> 'timing_p')::double precision * (standing ->> 'num_settings')::double precision) as p_value,
       (evidence ->> 'coin_passes')::double precision as coin_passes
from gate_verdict
where trained_on = any(%(trained_on)s::date[]) and ticker <> all(%(tickers)s::text[])
  and evidence is not null and standing is not null
order by trained_on, ticker, verdict_id desc;
