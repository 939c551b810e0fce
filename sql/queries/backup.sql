-- name: begin_snapshot
-- No time limit of the server or the role may end a long backup.
select set_config(name, '0', true) from pg_settings
where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');

-- name: export_snapshot
select pg_export_snapshot();

-- name: extent
select (select count(*) from ledger_event), (select count(*) from snapshot), (select count(*) from bar);

-- name: seals
select seal_id, session, encode(sha256, 'hex') from ledger_seal order by seal_id;

-- name: checkpoint_files
select distinct file_name, file_sha256 from checkpoint where file_removed_at is null order by file_name, file_sha256;

-- name: has_objects
select exists (select from pg_class where relnamespace = to_regnamespace(quote_ident(%(schema)s)))
    or exists (select from pg_proc where pronamespace = to_regnamespace(quote_ident(%(schema)s)));

-- name: wait_for_writers
select set_config('lock_timeout', %(milliseconds)s, true);

-- name: lock_record
-- Nobody writes or seals an event until the transaction ends.
lock table ledger_event, ledger_seal, snapshot in access exclusive mode;

-- name: keep_earlier_record
create temporary table earlier_event on commit drop as
    select event_id, event, ticker, run_date, leaf from ledger_event;
create temporary table earlier_seal on commit drop as select seal_id, session, sha256 from ledger_seal;

-- name: use_schema
select set_config('search_path', quote_ident(%(schema)s), false);

-- name: lost_events
-- Events of the earlier record that the restored one does not have, and how many of them are forecasts.
select count(*), count(*) filter (where earlier.event = 'forecast')
from pg_temp.earlier_event earlier
where not exists (select from ledger_event restored
                  where restored.event_id = earlier.event_id and restored.leaf = earlier.leaf);

-- name: lost_seals
select earlier.seal_id, earlier.session, encode(earlier.sha256, 'hex')
from pg_temp.earlier_seal earlier
where not exists (select from ledger_seal restored
                  where restored.seal_id = earlier.seal_id and restored.sha256 = earlier.sha256)
order by earlier.seal_id;

-- name: newer_events
-- Events after those of an archive, and how many of them are forecasts.
select count(*), count(*) filter (where event = 'forecast') from ledger_event where event_id >= %(num_events)s;

-- name: forget_heartbeats
-- The daemons of the installation in the archive are not running here.
delete from daemon_heartbeats;

-- name: has_heartbeats
select to_regclass(quote_ident(%(schema)s) || '.daemon_heartbeats') is not null;

-- name: analyze
analyze;
