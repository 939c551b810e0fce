-- Runs that ended before a moment and whose log is still there. What a log loses last is the end of its run, so this
-- finds the work without a look at what stays of other runs.
select run_id
from runs
where status in ('SUCCESS', 'FAILURE', 'CANCELED')
  and coalesce(to_timestamp(end_time), update_timestamp) < %(before)s
  and run_id in (
      select run_id from event_logs
      where dagster_event_type in ('PIPELINE_SUCCESS', 'PIPELINE_FAILURE', 'PIPELINE_CANCELED'))
order by id;
