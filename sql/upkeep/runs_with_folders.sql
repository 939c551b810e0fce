-- Of runs by their names, those whose folders stay: they have not ended, or not before a moment.
select run_id
from runs
where run_id = any(%(run_ids)s)
  and not (status in ('SUCCESS', 'FAILURE', 'CANCELED')
           and coalesce(to_timestamp(end_time), update_timestamp) < %(before)s);
