-- Of some runs, what came of checks, but for the newest of a check and partition; of an asset that is partitioned by
-- date, the newest of all its partitions.
with going as (
    select id
    from asset_check_executions came
    where run_id = any(%(run_ids)s)
      and (asset_key is null or asset_key <> all(%(for_good)s))
      and (execution_status = 'PLANNED'
           or exists (
               select from asset_check_executions later
               where later.asset_key = came.asset_key and later.check_name = came.check_name and later.id > came.id
                 and later.execution_status <> 'PLANNED'
                 and (later.asset_key = any(%(by_date)s) or later.partition is not distinct from came.partition)))
    limit %(limit)s
)
delete from asset_check_executions using going where asset_check_executions.id = going.id;
