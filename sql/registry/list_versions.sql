select c.version, c.status, c.trained_on, c.activated_at, c.retired_at, c.file_name, c.file_removed_at,
       original.version as restores, rollback.ordered_by as restored_by, rollback.why as restored_why,
       retirement.ordered_by as retired_by, retirement.why as retired_why,
       lead(c.version) over later as next_version,
       coalesce(lead(c.restores is not null) over later, false) as next_is_rollback,
       (select count(*) from snapshot where snapshot.checkpoint_id = c.checkpoint_id) as num_forecasts
from checkpoint c
left join checkpoint original on original.checkpoint_id = c.restores
left join registry_order rollback on rollback.checkpoint_id = c.checkpoint_id and rollback.action = 'rollback'
left join registry_order retirement on retirement.checkpoint_id = c.checkpoint_id and retirement.action = 'retirement'
where c.ticker = %(ticker)s and c.status <> 'candidate'
window later as (order by c.activated_at, c.checkpoint_id)
order by c.activated_at desc, c.checkpoint_id desc;
