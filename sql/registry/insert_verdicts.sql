insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules)
select verdict.*
from unnest(%(tickers)s::text[], %(trained_on)s::date[], %(checkpoint_ids)s::bigint[], %(backtest_ids)s::bigint[],
            %(passed)s::boolean[], %(rules)s::jsonb[])
    as verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules)
left join lateral (
    select verdict_id, trained_on, checkpoint_id, backtest_id, passed, rules
    from gate_verdict
    where gate_verdict.ticker = verdict.ticker
    order by verdict_id desc
    limit 1) as newest on true
where newest.verdict_id is null
   or (newest.trained_on, newest.checkpoint_id, newest.backtest_id, newest.passed, newest.rules)
      is distinct from (verdict.trained_on, verdict.checkpoint_id, verdict.backtest_id, verdict.passed, verdict.rules)
returning ticker;
