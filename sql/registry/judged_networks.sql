-- The newest verdict on the network that speaks for a ticker, under whichever version, or that spoke last where none
-- does, and a newer one on another network.
with verdict as (
    select gate_verdict.verdict_id, decided_at, rules, evidence, standing, checkpoint.file_sha256,
           coalesce(checkpoint.restores, checkpoint.checkpoint_id) as network_id
    from gate_verdict
    left join checkpoint using (checkpoint_id)
    where gate_verdict.ticker = %(ticker)s
), speaker as (
    select status, version, file_sha256
    from checkpoint
    where ticker = %(ticker)s and status <> 'candidate'
    order by status = 'active' desc, activated_at desc, checkpoint_id desc
    limit 1
), judged_speaker as (
    select case when speaker.status = 'active' then speaker.version end as version, newest.*
    from speaker
    cross join lateral (
        select * from verdict where verdict.file_sha256 = speaker.file_sha256 order by verdict_id desc limit 1) newest
)
select version, network_id, decided_at, rules, evidence, standing from judged_speaker
union all
(select null, network_id, decided_at, rules, evidence, standing
 from verdict
 where not exists (
     select from judged_speaker
     where judged_speaker.verdict_id >= verdict.verdict_id or judged_speaker.file_sha256 = verdict.file_sha256)
 order by verdict_id desc
 limit 1);
