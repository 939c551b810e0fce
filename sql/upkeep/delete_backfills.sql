-- Backfills that have ended and of which no run is left.
with going as (
    select id, key
    from bulk_actions
    where status in ('COMPLETED', 'COMPLETED_SUCCESS', 'COMPLETED_FAILED', 'FAILED', 'CANCELED')
      and timestamp < %(before)s
      and not exists (select from runs where backfill_id = key)
    order by id
    limit %(limit)s
), untagged as (
    delete from backfill_tags using going where backfill_id = going.key
)
delete from bulk_actions using going where bulk_actions.id = going.id;
