-- Of some runs, events that no page shows by partition. A plan without a later event of its partition is what the
-- pages know a failed partition by: it stays.
with going as (
    select id
    from event_logs said
    where run_id = any(%(run_ids)s)
      and (dagster_event_type is null
           or dagster_event_type not in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION', 'ASSET_CHECK_EVALUATION'))
      and (asset_key is null or asset_key <> all(%(for_good)s))
      and (dagster_event_type is distinct from 'ASSET_MATERIALIZATION_PLANNED'
           or exists (
               select from event_logs later
               where later.asset_key = said.asset_key and later.partition = said.partition and later.id > said.id
                 and later.dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED'))
           or (partition is null and exists (
               select from event_logs later
               where later.asset_key = said.asset_key and later.partition is null and later.id > said.id
                 and later.dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED'))))
    order by coalesce(dagster_event_type in ('PIPELINE_SUCCESS', 'PIPELINE_FAILURE', 'PIPELINE_CANCELED'), false), id
    limit %(limit)s
)
delete from event_logs where id = any(array(select id from going));
