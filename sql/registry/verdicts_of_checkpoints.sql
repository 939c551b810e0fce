select distinct on (checkpoint_id) checkpoint_id, rules, evidence, standing
from gate_verdict
where checkpoint_id = any(%(checkpoint_ids)s::bigint[])
order by checkpoint_id, verdict_id desc;
