-- Every ticker of the ledger, ranked ones first; the row without a ticker is the universe.
with known as (
    select ticker from (select distinct ticker from snapshot) tickers
    union all
    select null
), verdict as (
    select distinct on (ticker) ticker, passed,
           array(select rule ->> 'reason' from jsonb_array_elements(rules) with ordinality as r (rule, place)
                 where not (rule ->> 'passed')::boolean order by place) as failed_reasons
    from gate_verdict
    order by ticker, verdict_id desc
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
       speaker.model_status, speaker.model_version, speaker.trained_on, active.version as active_version
from known
left join accuracy_30d(%(kinds)s::text[]) board on board.ticker is not distinct from known.ticker
left join verdict on verdict.ticker = known.ticker
left join lateral (
    select snapshot.model_status, snapshot.model_version, checkpoint.trained_on
    from snapshot left join checkpoint using (checkpoint_id)
    where snapshot.ticker = known.ticker and snapshot.kind = any (%(kinds)s::text[]) and abstained_reason is null
    order by (next_day_actual is not null) desc, run_date desc
    limit 1) speaker on true
left join checkpoint active on active.ticker = known.ticker and active.status = 'active'
order by known.ticker is null, board.rank nulls last, known.ticker;
