-- A verdict is kept when anything about it is new; it is news when what the gate says is new, and not only a figure.
with given as (
    select verdict.*,
           newest.verdict_id is null
           or (newest.trained_on, newest.checkpoint_id, newest.backtest_id, newest.passed, newest.rules)
              is distinct from (verdict.trained_on, verdict.checkpoint_id, verdict.backtest_id, verdict.passed, verdict.rules)
               as is_news,
           (newest.evidence, newest.standing) is distinct from (verdict.evidence, verdict.standing) as has_new_figures
    from unnest(%(tickers)s::text[], %(trained_on)s::date[], %(checkpoint_ids)s::bigint[], %(backtest_ids)s::bigint[],
                %(passed)s::boolean[], %(rules)s::jsonb[], %(evidence)s::jsonb[], %(standings)s::jsonb[])
        as verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing)
    left join lateral (
        select verdict_id, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing
        from gate_verdict
        where gate_verdict.ticker = verdict.ticker
        order by verdict_id desc
        limit 1) as newest on true
), kept as (
    insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing)
    select ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing
    from given where is_news or has_new_figures
)
select ticker from given where is_news;
