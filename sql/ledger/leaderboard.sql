-- Every ticker of the ledger, ranked ones first; the row without a ticker is the universe.
with known as (
    select ticker from (select distinct ticker from snapshot) tickers
    union all
    select null
), verdict as (
    select distinct on (ticker) ticker, passed, decided_at,
           array(select rule ->> 'reason' from jsonb_array_elements(rules) with ordinality as r (rule, place)
                 where not (rule ->> 'passed')::boolean order by place) as failed_reasons
    from gate_verdict
    order by ticker, decided_at desc, verdict_id desc
), model as (
    select distinct on (ticker) ticker, status, version, trained_on
    from checkpoint
    where status in ('active', 'candidate')
    order by ticker, status = 'active' desc, trained_on desc, checkpoint_id desc
)
select known.ticker, board.rank,
       coalesce(board.num_filled, 0) as num_filled,
       coalesce(board.num_directional, 0) as num_directional,
       coalesce(board.num_correct, 0) as num_correct,
       board.first_run_date, board.last_run_date,
       board.direction_accuracy, board.accuracy_low, board.accuracy_high, board.coverage,
       board.next_day_error, board.next_day_no_change_error,
       coalesce(board.num_next_monday, 0) as num_next_monday,
       board.next_monday_error, board.next_monday_no_change_error,
       coalesce(board.num_one_month, 0) as num_one_month,
       board.one_month_error, board.one_month_no_change_error,
       verdict.passed as gate_passed,
       coalesce(verdict.failed_reasons, '{}') as gate_reasons,
       model.status as model_status, model.version as model_version, model.trained_on
from known
left join accuracy_30d(%(kinds)s::text[]) board on board.ticker is not distinct from known.ticker
left join verdict on verdict.ticker = known.ticker
left join model on model.ticker = known.ticker
order by known.ticker is null, board.rank nulls last, known.ticker;
