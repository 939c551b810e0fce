-- Of some runs, all events but the newest materialization and observation of a partition, or of all partitions where
-- these are dates, and evaluations that a check still shows.
with shown as (
    select evaluation_event_storage_id as id from asset_check_executions where run_id = any(%(run_ids)s)
), going as (
    select id
    from event_logs happened
    where run_id = any(%(run_ids)s)
      and (asset_key is null or asset_key <> all(%(for_good)s))
      and id not in (select id from shown where id is not null)
      and (dagster_event_type is null
           or dagster_event_type not in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION')
           or exists (
               select from event_logs later
               where later.asset_key = happened.asset_key and later.id > happened.id
                 and later.dagster_event_type = happened.dagster_event_type
                 and (later.asset_key = any(%(by_date)s) or later.partition is not distinct from happened.partition)))
    limit %(limit)s
), untagged as (
    delete from asset_event_tags where event_id = any(array(select id from going))
)
delete from event_logs where id = any(array(select id from going));
