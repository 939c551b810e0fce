-- A verdict is kept when anything about it is new. It is news when what the gate says is new: another subject, a rule
-- that passes now or fails now, or another reason why a rule could not be applied; not when only a figure moved.
with given as (
    select verdict.*,
           newest.verdict_id is null
           or (newest.trained_on, newest.checkpoint_id, newest.backtest_id, newest.passed, said_before.rules)
              is distinct from (verdict.trained_on, verdict.checkpoint_id, verdict.backtest_id, verdict.passed, said_now.rules)
               as is_news,
           (newest.rules, newest.evidence, newest.standing)
           is distinct from (verdict.rules, verdict.evidence, verdict.standing) as has_new_figures
    from unnest(%(tickers)s::text[], %(trained_on)s::date[], %(checkpoint_ids)s::bigint[], %(backtest_ids)s::bigint[],
                %(passed)s::boolean[], %(rules)s::jsonb[], %(evidence)s::jsonb[], %(standings)s::jsonb[])
        as verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing)
    left join lateral (
        select verdict_id, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing
        from gate_verdict
        where gate_verdict.ticker = verdict.ticker
        order by verdict_id desc
        limit 1) as newest on true
    cross join lateral (
        select array_agg(row(rule ->> 'rule', rule ->> 'passed',
                             case when rule ->> 'figure' is null then rule ->> 'reason' end)::text order by place) as rules
        from jsonb_array_elements(verdict.rules) with ordinality as r (rule, place)) as said_now
    cross join lateral (
        select array_agg(row(rule ->> 'rule', rule ->> 'passed',
                             case when rule ->> 'figure' is null then rule ->> 'reason' end)::text order by place) as rules
        from jsonb_array_elements(newest.rules) with ordinality as r (rule, place)) as said_before
), kept as (
    insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing)
    select ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, standing
    from given where is_news or has_new_figures
)
select ticker from given where is_news;
