-- The newest verdict on the network that speaks for a ticker, under whichever version, and a newer one on another network.
with verdict as (
    select gate_verdict.verdict_id, decided_at, rules, evidence, standing, checkpoint.file_sha256
    from gate_verdict
    left join checkpoint using (checkpoint_id)
    where gate_verdict.ticker = %(ticker)s
), active as (
    select checkpoint.version, newest.*
    from checkpoint
    cross join lateral (
        select * from verdict where verdict.file_sha256 = checkpoint.file_sha256 order by verdict_id desc limit 1) newest
    where ticker = %(ticker)s and status = 'active'
)
select version, decided_at, rules, evidence, standing from active
union all
(select null, decided_at, rules, evidence, standing
 from verdict
 where not exists (
     select from active
     where active.verdict_id >= verdict.verdict_id or active.file_sha256 = verdict.file_sha256)
 order by verdict_id desc
 limit 1);
