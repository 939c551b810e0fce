-- Of some runs, those that nothing refers to any more: no event, no check, and no younger run that repeats them.
delete from runs
where run_id = any(%(run_ids)s)
  and run_id not in (select run_id from asset_check_executions where run_id = any(%(run_ids)s))
  and not exists (select from event_logs where event_logs.run_id = runs.run_id)
  and not exists (
      select from run_tags
      where key in ('dagster/parent_run_id', 'dagster/root_run_id') and value = runs.run_id
        and run_tags.run_id <> all(%(run_ids)s));
