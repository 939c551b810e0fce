select ticker,
       active.version as active_version, active.trained_on as active_trained_on, active.activated_at,
       candidate.trained_on as candidate_trained_on, candidate.validation_loss as candidate_validation_loss,
       retired.num_retired, verdict.decided_at, verdict.rules, verdict.evidence, verdict.standing
from (select ticker from checkpoint union select ticker from gate_verdict) as known
left join lateral (
    select version, trained_on, activated_at from checkpoint
    where checkpoint.ticker = known.ticker and status = 'active') as active on true
left join lateral (
    select trained_on, validation_loss from checkpoint
    where checkpoint.ticker = known.ticker and status = 'candidate'
    order by trained_on desc, checkpoint_id desc
    limit 1) as candidate on true
left join lateral (
    select decided_at, rules, evidence, standing from gate_verdict
    where gate_verdict.ticker = known.ticker
    order by verdict_id desc
    limit 1) as verdict on true
cross join lateral (
    select count(*) as num_retired from checkpoint
    where checkpoint.ticker = known.ticker and status = 'retired') as retired
order by ticker;
