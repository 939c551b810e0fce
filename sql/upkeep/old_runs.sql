select run_id
from runs
where status in ('SUCCESS', 'FAILURE', 'CANCELED') and coalesce(to_timestamp(end_time), update_timestamp) < %(before)s
order by id;
