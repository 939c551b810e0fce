-- name: has_storage_owner
select to_regclass('ldtm_owner') is not null;

-- name: storage_owner
-- The recorded schema and whether it exists: a schema that was renamed or dropped owns nothing.
select schema, to_regnamespace(quote_ident(schema)) is not null from ldtm_owner;

-- name: create_storage_owner
-- One row: the installation whose runs, cursors and schedules this schema holds. Every role may read it, since every
-- installation checks it at start.
create table ldtm_owner (
    schema   name    not null,
    only_one boolean primary key default true check (only_one)
);
grant select on ldtm_owner to public;
comment on table ldtm_owner is 'The schema of the one LDTM installation whose Dagster storage this is.';

-- name: own_storage
insert into ldtm_owner (schema) values (%(schema)s) on conflict (only_one) do update set schema = excluded.schema;

-- name: lock
select pg_try_advisory_lock(hashtextextended('ldtm retention ' || current_schema(), 0));

-- name: vacuum
vacuum (analyze) event_logs, asset_event_tags, asset_check_executions, runs, run_tags;

-- name: delete_refused_bars
delete from quarantined_bar
where quarantined_id in (
    select quarantined_id
    from quarantined_bar
    where resolved_at < %(resolved_before)s or (resolved_at is null and last_seen_at < %(seen_before)s)
    order by quarantined_id
    limit %(limit)s);

-- name: delete_attempts
delete from daily_attempt
where (session, ticker) in (
    select session, ticker from daily_attempt where last_attempt_at < %(before)s order by session limit %(limit)s);

-- name: delete_notifications
-- Notifications without a pending delivery; their deliveries are deleted with them.
delete from notification
where notification_id in (
    select notification_id
    from notification
    where made_at < %(before)s
      and not exists (
          select from notification_delivery d
          where d.notification_id = notification.notification_id and delivered_at is null and given_up_at is null)
    order by notification_id
    limit %(limit)s);

-- name: delete_alerts
delete from alert
where alert_id in (
    select alert_id
    from alert
    where greatest(seen_at, raised_at, notified_at, resolved_at, resolution_notified_at) < %(before)s
    order by alert_id
    limit %(limit)s);

-- name: runs_with_folders
-- The given runs whose folders are kept: those that have not ended, or not before the given time.
select run_id
from runs
where run_id = any(%(run_ids)s)
  and not (status in ('SUCCESS', 'FAILURE', 'CANCELED')
           and coalesce(to_timestamp(end_time), update_timestamp) < %(before)s);

-- name: has_run_storage
select to_regclass('runs') is not null and to_regclass('event_logs') is not null;

-- name: existing_tables
-- Those of the given tables that exist in the schema of the connection.
select tablename from pg_tables where schemaname = current_schema() and tablename = any(%(names)s);

-- name: has_runs
select exists (select from runs);

-- name: runs_with_logs
-- Runs that ended before the given time and still have a log. The end event of a run is deleted last, so the query
-- finds them without reading the events that are kept of other runs.
select run_id
from runs
where status in ('SUCCESS', 'FAILURE', 'CANCELED')
  and coalesce(to_timestamp(end_time), update_timestamp) < %(before)s
  and run_id in (
      select run_id from event_logs
      where dagster_event_type in ('PIPELINE_SUCCESS', 'PIPELINE_FAILURE', 'PIPELINE_CANCELED'))
order by id;

-- name: delete_run_logs
-- Events of the given runs that the UI does not show by partition. A planned materialization without a later event of
-- its partition is kept: the UI recognises a failed partition by it.
with expired as (
    select id
    from event_logs event
    where run_id = any(%(run_ids)s)
      and (dagster_event_type is null
           or dagster_event_type not in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION', 'ASSET_CHECK_EVALUATION'))
      and (asset_key is null or asset_key <> all(%(for_good)s))
      and (dagster_event_type is distinct from 'ASSET_MATERIALIZATION_PLANNED'
           or exists (
               select from event_logs later
               where later.asset_key = event.asset_key and later.partition = event.partition and later.id > event.id
                 and later.dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED'))
           or (partition is null and exists (
               select from event_logs later
               where later.asset_key = event.asset_key and later.partition is null and later.id > event.id
                 and later.dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED'))))
    order by coalesce(dagster_event_type in ('PIPELINE_SUCCESS', 'PIPELINE_FAILURE', 'PIPELINE_CANCELED'), false), id
    limit %(limit)s
)
delete from event_logs where id = any(array(select id from expired));

-- name: old_runs
select run_id
from runs
where status in ('SUCCESS', 'FAILURE', 'CANCELED') and coalesce(to_timestamp(end_time), update_timestamp) < %(before)s
order by id;

-- name: delete_check_executions
-- Check executions of the given runs, except the newest of each check and partition; for an asset partitioned by date,
-- the newest of all its partitions.
with expired as (
    select id
    from asset_check_executions execution
    where run_id = any(%(run_ids)s)
      and (asset_key is null or asset_key <> all(%(for_good)s))
      and (execution_status = 'PLANNED'
           or exists (
               select from asset_check_executions later
               where later.asset_key = execution.asset_key and later.check_name = execution.check_name and later.id > execution.id
                 and later.execution_status <> 'PLANNED'
                 and (later.asset_key = any(%(by_date)s) or later.partition is not distinct from execution.partition)))
    limit %(limit)s
)
delete from asset_check_executions using expired where asset_check_executions.id = expired.id;

-- name: delete_run_events
-- Events of the given runs, except the newest materialization and observation of each partition, or of all partitions
-- where these are dates, and the evaluations that a check still shows.
with shown as (
    select evaluation_event_storage_id as id from asset_check_executions where run_id = any(%(run_ids)s)
), expired as (
    select id
    from event_logs event
    where run_id = any(%(run_ids)s)
      and (asset_key is null or asset_key <> all(%(for_good)s))
      and id not in (select id from shown where id is not null)
      and (dagster_event_type is null
           or dagster_event_type not in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION')
           or exists (
               select from event_logs later
               where later.asset_key = event.asset_key and later.id > event.id
                 and later.dagster_event_type = event.dagster_event_type
                 and (later.asset_key = any(%(by_date)s) or later.partition is not distinct from event.partition)))
    limit %(limit)s
), untagged as (
    delete from asset_event_tags where event_id = any(array(select id from expired))
)
delete from event_logs where id = any(array(select id from expired));

-- name: delete_runs
-- The given runs that nothing refers to: no event, no check execution, and no later re-execution.
delete from runs
where run_id = any(%(run_ids)s)
  and run_id not in (select run_id from asset_check_executions where run_id = any(%(run_ids)s))
  and not exists (select from event_logs where event_logs.run_id = runs.run_id)
  and not exists (
      select from run_tags
      where key in ('dagster/parent_run_id', 'dagster/root_run_id') and value = runs.run_id
        and run_tags.run_id <> all(%(run_ids)s));

-- name: delete_backfills
-- Backfills that have ended and have no runs left.
with expired as (
    select id, key
    from bulk_actions
    where status in ('COMPLETED', 'COMPLETED_SUCCESS', 'COMPLETED_FAILED', 'FAILED', 'CANCELED')
      and timestamp < %(before)s
      and not exists (select from runs where backfill_id = key)
    order by id
    limit %(limit)s
), untagged as (
    delete from backfill_tags using expired where backfill_id = expired.key
)
delete from bulk_actions using expired where bulk_actions.id = expired.id;

-- name: status_counts
-- One row: attempts of one session, pending work, active models, and the size of the database.
select clock_timestamp() as moment,
       a.num_tried, a.num_done, a.num_attempts, a.first_attempt_at, a.last_attempt_at,
       f.num_without_bar, f.oldest_without_bar,
       (select count(*) from quarantined_bar where resolved_at is null) as num_refused_bars,
       (select array_agg(ticker order by ticker) from checkpoint
        where status = 'active' and ticker = any (%(tickers)s::text[])) as with_active_model,
       p.ticker || ' ' || p.version as newest_promotion, p.activated_at as promoted_at,
       pg_database_size(current_database()) as database_bytes
from (
    select count(*) as num_tried, count(done_at) as num_done, max(num_attempts) as num_attempts,
           min(first_attempt_at) as first_attempt_at, max(last_attempt_at) as last_attempt_at
    from daily_attempt where session = %(session)s and ticker = any (%(tickers)s::text[])
) a
cross join (
    select count(*) as num_without_bar, min(target_session) as oldest_without_bar
    from open_fill where has_closed and actual is null
) f
left join (
    select ticker, version, activated_at from checkpoint where activated_at is not null
    order by activated_at desc, checkpoint_id desc limit 1
) p on true;

-- name: notification_status
-- The newest notifications, and every older one whose delivery is pending, or failed within the last week.
select notification_id, made_at, session, severity, title, undelivered, failed
from notification
cross join lateral (
    select coalesce(array_agg(shown_as order by shown_as) filter (where given_up_at is null), '{}') as undelivered,
           coalesce(array_agg(shown_as || ': ' || coalesce(last_error, 'never tried') order by shown_as)
                    filter (where last_error is not null or given_up_at is not null), '{}') as failed
    from notification_delivery d
    where d.notification_id = notification.notification_id and delivered_at is null
      and (given_up_at is null or given_up_at > clock_timestamp() - interval '7 days')
) d
where notification_id in (select notification_id from notification order by notification_id desc limit %(num_newest)s)
   or undelivered <> '{}' or failed <> '{}'
order by notification_id desc;

-- name: loaded_code
select value from kvs where key = %(key)s;

-- name: live_daemons
-- Daemons with a recent heartbeat. The column timestamp has no time zone, the body has seconds since 1970.
select daemon_type from daemon_heartbeats
where (body::json ->> 'timestamp')::float8 >= extract(epoch from clock_timestamp()) - %(seconds)s;

-- name: automation_states
-- Schedules and sensors with a state that Dagster stored: name, status, and the selector of their ticks.
select instigator_body::json #>> '{origin,job_name}', status, selector_id from instigators order by id;

-- name: failed_ticks
-- The newest ended tick of each selector, if it failed.
select selector, tick_body
from unnest(%(selectors)s::text[]) as selector
cross join lateral (
    select status, tick_body from job_ticks
    where selector_id = selector and status in ('SUCCESS', 'SKIPPED', 'FAILURE')
    order by timestamp desc, id desc limit 1
) newest
where status = 'FAILURE';

-- name: running_jobs
select pipeline_name from runs where status in ('STARTING', 'STARTED', 'CANCELING') order by id;

-- name: queue
-- Queued runs, and the slots of a pool: all that it has, or NULL without a limit, those held, and the steps waiting.
select (select count(*) from runs where status = 'QUEUED'),
       case when exists (select from concurrency_limits where concurrency_key = %(pool)s)
            then (select count(*) from concurrency_slots where concurrency_key = %(pool)s and not deleted) end,
       (select count(*) from concurrency_slots where concurrency_key = %(pool)s and run_id is not null),
       (select count(*) from pending_steps where concurrency_key = %(pool)s and assigned_timestamp is null);
