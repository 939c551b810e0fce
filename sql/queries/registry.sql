-- name: lock_promotions
select pg_advisory_xact_lock(hashtextextended('ldtm promotion ' || current_schema(), 0));

-- name: record_configuration
-- The trigger configuration_is_a_change numbers it, and leaves out one that equals the newest.
insert into configuration (tickers, retired, settings) values (%(tickers)s::text[], %(retired)s, %(settings)s);

-- name: removed_in_service
select ticker from service_entry where ticker <> all (%(tickers)s::text[]) order by ticker;

-- name: hold_files
-- Taken before choosing a network, reading its file and recording its forecasts: files are kept until the transaction
-- ends.
select pg_advisory_xact_lock_shared(hashtextextended('ldtm files held ' || current_schema(), 0));

-- name: lock_candidate_files
-- Serialises the writing of candidates' files and rows with the removal of files.
select pg_advisory_xact_lock(hashtextextended('ldtm candidate files ' || current_schema(), 0));

-- name: insert_candidates
insert into checkpoint (
    ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
    num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
    gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors, no_change_errors,
    training_losses, validation_losses, leaks)
select ticker, trained_on, architecture, recipe, data, file_name, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
       gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors::double precision[],
       no_change_errors::double precision[], training_losses::double precision[], validation_losses::double precision[],
       leaks
from unnest(
    %(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[],
    %(file_names)s::text[], %(file_sha256s)s::text[], %(seeds)s::bigint[],
    %(num_training_rows)s::integer[], %(num_validation_rows)s::integer[], %(num_epochs)s::integer[],
    %(best_epoch)s::integer[], %(validation_loss)s::double precision[], %(duration_seconds)s::double precision[],
    %(device)s::text[], %(gpu_index)s::integer[], %(vram_peak_mib)s::double precision[],
    %(training_method)s::text[],
    %(no_change_loss)s::double precision[], %(horizon_errors)s::text[], %(no_change_errors)s::text[],
    %(training_losses)s::text[], %(validation_losses)s::text[],
    %(leaks)s::jsonb[])
    as trained (ticker, trained_on, architecture, recipe, data, file_name, file_sha256, seed,
                num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
                gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors, no_change_errors,
                training_losses, validation_losses, leaks)
on conflict (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256) where restores is null
do update set file_removed_at = null
where checkpoint.status = 'candidate' and checkpoint.file_removed_at is not null;

-- name: networks_of_checkpoints
select checkpoint_id, null as fold, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
       no_change_loss, horizon_errors, no_change_errors, training_losses, validation_losses,
       duration_seconds, device, gpu_index, vram_peak_mib, training_method
from checkpoint
where checkpoint_id = any(%(checkpoint_ids)s::bigint[]);

-- name: newest_checkpoints
select distinct on (ticker)
       checkpoint_id, ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device, version, major,
       leaks, restores, file_removed_at
from checkpoint
where ticker = any(%(tickers)s::text[]) and restores is null
  and (%(trained_on)s::date is null
       or (trained_on, architecture_sha256, recipe_sha256)
          = (%(trained_on)s, %(architecture_sha256)s::text, %(recipe_sha256)s::text))
order by ticker, trained_on desc, checkpoint_id desc;

-- name: promoted_checkpoints
select checkpoint_id, ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device, version, major,
       leaks, restores, file_removed_at
from checkpoint
where ticker = any(%(tickers)s::text[]) and status <> 'candidate'
order by activated_at desc, checkpoint_id desc;

-- name: checkpoints_of_inputs
select checkpoint_id, ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device, version, major,
       leaks, restores, file_removed_at
from checkpoint
join unnest(%(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[])
    as input (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
    using (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
order by checkpoint_id desc;

-- name: decommissioned
-- Networks of the given tickers, or of all, that a lifecycle action decommissioned, each with the action that ended its
-- last activation: a retirement, or a rollback to another network.
with promoted as (
    select checkpoint_id, ticker, version, status, trained_on, activated_at,
           coalesce(restores, checkpoint_id) as network_id,
           lead(checkpoint_id) over later as next_id, lead(version) over later as next_version
    from checkpoint
    where status <> 'candidate' and (%(tickers)s::text[] is null or ticker = any(%(tickers)s::text[]))
    window later as (partition by ticker order by activated_at, checkpoint_id)
), newest as (
    select distinct on (ticker) checkpoint_id as network_id
    from checkpoint
    where restores is null and (%(tickers)s::text[] is null or ticker = any(%(tickers)s::text[]))
    order by ticker, trained_on desc, checkpoint_id desc
)
select distinct on (p.ticker, p.network_id)
       p.ticker, p.network_id, p.version, l.action, l.requested_by, l.why, l.recorded_at,
       case when l.action = 'rollback' then p.next_version end as instead,
       p.network_id in (select network_id from newest) as is_newest,
       exists (select from promoted a where a.network_id = p.network_id and a.status = 'active') as is_back,
       p.next_id is null as is_last
from promoted p
join lifecycle_action l
  on (l.checkpoint_id = p.checkpoint_id and l.action = 'retirement')
  or (l.checkpoint_id = p.next_id and l.action = 'rollback')
order by p.ticker, p.network_id, p.activated_at desc, p.checkpoint_id desc, l.action_id;

-- name: record_failures
insert into training_failure (ticker, part, trained_on, architecture_sha256, recipe_sha256, data_sha256, reason)
select * from unnest(
    %(tickers)s::text[], %(parts)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[],
    %(data)s::text[], %(reasons)s::text[])
on conflict (ticker, part, trained_on, architecture_sha256, recipe_sha256, data_sha256)
do update set reason = excluded.reason, failed_at = excluded.failed_at;

-- name: newest_failures
select distinct on (ticker) ticker, trained_on, reason
from training_failure
where ticker = any(%(tickers)s::text[]) and part = 'checkpoint'
  and (%(trained_on)s::date is null or trained_on = %(trained_on)s)
order by ticker, trained_on desc, failed_at desc;

-- name: backtest_failures
select ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, reason
from training_failure
join unnest(%(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[])
    as input (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
    using (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
where part = 'backtest';

-- name: retire_checkpoints
update checkpoint set status = 'retired', retired_at = clock_timestamp()
where ticker = any(%(tickers)s::text[]) and status = 'active';

-- name: restore_checkpoint
insert into checkpoint (
    ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
    num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
    gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors, no_change_errors, training_losses,
    validation_losses, leaks, restores, major, version)
select ticker, 'active', trained_on, architecture_sha256, recipe_sha256, data_sha256, %(file_name)s, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
       gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors, no_change_errors, training_losses,
       validation_losses, leaks, checkpoint_id, %(major)s, %(version)s
from checkpoint
where checkpoint_id = %(restores)s
returning checkpoint_id;

-- name: retire_checkpoint
update checkpoint set status = 'retired', retired_at = clock_timestamp()
where checkpoint_id = %(checkpoint_id)s and status = 'active';

-- name: record_lifecycle_action
insert into lifecycle_action (ticker, action, checkpoint_id, requested_by, why)
values (%(ticker)s, %(action)s, %(checkpoint_id)s, %(requested_by)s, %(why)s);

-- name: list_registry
select ticker,
       active.version as active_version, active.trained_on as active_trained_on, active.activated_at,
       candidate.trained_on as candidate_trained_on, candidate.validation_loss as candidate_validation_loss,
       retired.num_retired, verdict.decided_at, verdict.rules, verdict.evidence, verdict.multiple_testing
from (select ticker from checkpoint union select ticker from gate_verdict) as known
left join lateral (
    select version, trained_on, activated_at from checkpoint
    where checkpoint.ticker = known.ticker and status = 'active') as active on true
left join lateral (
    select trained_on, validation_loss from checkpoint
    where checkpoint.ticker = known.ticker and status = 'candidate'
    order by trained_on desc, checkpoint_id desc
    limit 1) as candidate on true
left join lateral (
    select decided_at, rules, evidence, multiple_testing from gate_verdict
    where gate_verdict.ticker = known.ticker
    order by verdict_id desc
    limit 1) as verdict on true
cross join lateral (
    select count(*) as num_retired from checkpoint
    where checkpoint.ticker = known.ticker and status = 'retired') as retired
order by ticker;

-- name: list_versions
select c.version, c.status, c.trained_on, c.activated_at, c.retired_at, c.file_name, c.file_removed_at,
       original.version as restores, rollback.requested_by as restored_by, rollback.why as restored_why,
       retirement.requested_by as retired_by, retirement.why as retired_why,
       lead(c.version) over later as next_version,
       coalesce(lead(c.restores is not null) over later, false) as next_is_rollback,
       (select count(*) from snapshot where snapshot.checkpoint_id = c.checkpoint_id) as num_forecasts
from checkpoint c
left join checkpoint original on original.checkpoint_id = c.restores
left join lifecycle_action rollback on rollback.checkpoint_id = c.checkpoint_id and rollback.action = 'rollback'
left join lifecycle_action retirement on retirement.checkpoint_id = c.checkpoint_id and retirement.action = 'retirement'
where c.ticker = %(ticker)s and c.status <> 'candidate'
window later as (order by c.activated_at, c.checkpoint_id)
order by c.activated_at desc, c.checkpoint_id desc;

-- name: judged_networks
-- The newest verdict on a ticker's active network, or on its last active one if none is active, under any version, and
-- a newer verdict on another network.
with verdict as (
    select gate_verdict.verdict_id, decided_at, rules, evidence, multiple_testing, checkpoint.file_sha256,
           coalesce(checkpoint.restores, checkpoint.checkpoint_id) as network_id
    from gate_verdict
    left join checkpoint using (checkpoint_id)
    where gate_verdict.ticker = %(ticker)s
), active_network as (
    select status, version, file_sha256
    from checkpoint
    where ticker = %(ticker)s and status <> 'candidate'
    order by status = 'active' desc, activated_at desc, checkpoint_id desc
    limit 1
), judged_active as (
    select case when active_network.status = 'active' then active_network.version end as version, newest.*
    from active_network
    cross join lateral (
        select * from verdict where verdict.file_sha256 = active_network.file_sha256 order by verdict_id desc limit 1) newest
)
select version, network_id, decided_at, rules, evidence, multiple_testing from judged_active
union all
(select null, network_id, decided_at, rules, evidence, multiple_testing
 from verdict
 where not exists (
     select from judged_active
     where judged_active.verdict_id >= verdict.verdict_id or judged_active.file_sha256 = verdict.file_sha256)
 order by verdict_id desc
 limit 1);

-- name: activate_checkpoints
update checkpoint
set status = 'active', activated_at = clock_timestamp(),
    major = promoted.major, version = promoted.version, file_name = promoted.file_name
from unnest(%(checkpoint_ids)s::bigint[], %(majors)s::integer[], %(versions)s::text[], %(file_names)s::text[])
    as promoted (checkpoint_id, major, version, file_name)
where checkpoint.checkpoint_id = promoted.checkpoint_id and checkpoint.status = 'candidate'
  and checkpoint.file_removed_at is null;

-- name: lock_held_files
-- Excludes the shared lock of hold_files: files are marked as removed only while no transaction reads them.
select pg_advisory_xact_lock(hashtextextended('ldtm files held ' || current_schema(), 0));

-- name: lock_chain
-- The lock of take_chain_lock(), which every writer of forecasts holds until it commits.
select pg_advisory_xact_lock(hashtextextended('ldtm chain ' || current_schema(), 0));

-- name: mark_removed_files
update checkpoint set file_removed_at = clock_timestamp()
where checkpoint_id = any(%(checkpoint_ids)s::bigint[]) and file_removed_at is null;

-- name: removable_files
-- Checkpoints whose file is no longer needed: neither among the newest of their status, nor the newest network of their
-- ticker, nor referred to by a forecast, nor sharing the file with a checkpoint that keeps it.
with asked as (
    select checkpoint_id, ticker, status, trained_on, restores, retired_at, file_name, file_removed_at
    from checkpoint
    where %(tickers)s::text[] is null or ticker = any(%(tickers)s::text[])
), ranked as (
    select checkpoint_id, ticker, status, file_name,
           row_number() over (
               partition by ticker, status order by retired_at desc, trained_on desc, checkpoint_id desc) as place
    from asked
    where file_removed_at is null
), newest as (
    select distinct on (ticker) checkpoint_id
    from asked
    where restores is null
    order by ticker, trained_on desc, checkpoint_id desc
), removable as (
    select checkpoint_id, file_name
    from ranked
    where ((status = 'retired' and place > %(kept_retired)s) or (status = 'candidate' and place > %(kept_candidates)s))
      and checkpoint_id not in (select checkpoint_id from newest)
      and not exists (select from snapshot where snapshot.checkpoint_id = ranked.checkpoint_id)
      and not exists (select from shadow_forecast where shadow_forecast.checkpoint_id = ranked.checkpoint_id)
)
select checkpoint_id
from removable
where file_name not in (
    select file_name from checkpoint
    where file_removed_at is null and checkpoint_id not in (select checkpoint_id from removable))
order by checkpoint_id;

-- name: unneeded_files
-- Files on the disk that belong to checkpoints and that no checkpoint needs: they are marked as removed, or about to
-- be; or the candidate was promoted and has its own copy. File names quote tickers such as ^GSPC as %%5EGSPC.
with known as (
    select checkpoint_id, ticker, version, trained_on, status as was, file_name,
           file_removed_at is null and checkpoint_id <> all(%(marked)s::bigint[]) as is_needed
    from checkpoint
    union all
    select checkpoint_id, ticker, version, trained_on, 'promoted',
           %(candidate_folder)s || '/' || ticker || '_' || left(file_sha256, %(num_digits)s) || '.pt', false
    from checkpoint
    where status <> 'candidate'
), found as (
    select present.file_name, present.num_bytes, checkpoint_id, ticker, version, trained_on, was,
           bool_or(is_needed) over (partition by present.file_name) as is_needed_by_any
    from known
    join unnest(%(file_names)s::text[], %(unquoted_names)s::text[], %(sizes)s::bigint[])
        as present (file_name, unquoted_name, num_bytes)
        on known.file_name = case when was = 'promoted' then present.unquoted_name else present.file_name end
)
select distinct on (file_name) file_name, num_bytes, ticker, version, trained_on, was
from found
where not is_needed_by_any and (%(tickers)s::text[] is null or ticker = any(%(tickers)s::text[]))
order by file_name, checkpoint_id desc;

-- name: insert_verdicts
-- A verdict is stored if any part of it differs from the newest one. It is news if the gate result changed: another
-- subject, a rule that now passes or fails, or another reason why a rule could not be applied; changed figures are not.
with given as (
    select verdict.*,
           newest.verdict_id is null
           or (newest.trained_on, newest.checkpoint_id, newest.backtest_id, newest.passed, earlier_result.rules)
              is distinct from (verdict.trained_on, verdict.checkpoint_id, verdict.backtest_id, verdict.passed, result.rules)
               as is_news,
           (newest.rules, newest.evidence, newest.multiple_testing)
           is distinct from (verdict.rules, verdict.evidence, verdict.multiple_testing) as has_new_figures
    from unnest(%(tickers)s::text[], %(trained_on)s::date[], %(checkpoint_ids)s::bigint[], %(backtest_ids)s::bigint[],
                %(passed)s::boolean[], %(rules)s::jsonb[], %(evidence)s::jsonb[], %(multiple_testing)s::jsonb[])
        as verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, multiple_testing)
    left join lateral (
        select verdict_id, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, multiple_testing
        from gate_verdict
        where gate_verdict.ticker = verdict.ticker
        order by verdict_id desc
        limit 1) as newest on true
    cross join lateral (
        select array_agg(row(rule ->> 'rule', rule ->> 'passed',
                             case when rule ->> 'figure' is null then rule ->> 'reason' end)::text order by place) as rules
        from jsonb_array_elements(verdict.rules) with ordinality as r (rule, place)) as result
    cross join lateral (
        select array_agg(row(rule ->> 'rule', rule ->> 'passed',
                             case when rule ->> 'figure' is null then rule ->> 'reason' end)::text order by place) as rules
        from jsonb_array_elements(newest.rules) with ordinality as r (rule, place)) as earlier_result
), kept as (
    insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, multiple_testing)
    select ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence, multiple_testing
    from given where is_news or has_new_figures
)
select ticker from given where is_news;

-- name: verdicts_of_checkpoints
select distinct on (checkpoint_id) checkpoint_id, rules, evidence, multiple_testing
from gate_verdict
where checkpoint_id = any(%(checkpoint_ids)s::bigint[])
order by checkpoint_id, verdict_id desc;

-- name: trials
-- The number of trainings of a ticker until a session, successful or not, and the number of settings tried: the
-- settings of each backtest with the neutral band that it was judged by, then or now.
select asked.ticker, trained.num_trainings, tested.num_settings
from unnest(%(tickers)s::text[], %(trained_on)s::date[], %(backtest_ids)s::bigint[]) as asked (ticker, trained_on, backtest_id)
cross join lateral (
    select count(*) as num_trainings
    from (select trained_on, architecture_sha256, recipe_sha256, data_sha256 from checkpoint
          where checkpoint.ticker = asked.ticker and checkpoint.trained_on <= asked.trained_on and restores is null
          union
          select trained_on, architecture_sha256, recipe_sha256, data_sha256 from training_failure
          where training_failure.ticker = asked.ticker and training_failure.trained_on <= asked.trained_on
            and part = 'checkpoint') inputs
) as trained
cross join lateral (
    select count(*) as num_settings
    from (select architecture_sha256, recipe_sha256, plan_sha256, %(neutral_band)s::double precision as neutral_band,
                 %(neutral_band_volatilities)s::double precision as neutral_band_volatilities
          from backtest
          where backtest.ticker = asked.ticker and backtest.trained_on <= asked.trained_on
            and (backtest.backtest_id = asked.backtest_id
                 or not exists (select from gate_verdict
                                where gate_verdict.backtest_id = backtest.backtest_id and evidence is not null))
          union
          select architecture_sha256, recipe_sha256, plan_sha256, (evidence ->> 'neutral_band')::double precision,
                 (evidence ->> 'neutral_band_volatilities')::double precision
          from backtest
          join gate_verdict using (backtest_id)
          where backtest.ticker = asked.ticker and backtest.trained_on <= asked.trained_on and evidence is not null) settings
) as tested;

-- name: other_verdicts
-- The newest evidence on other tickers that were trained on the given sessions: the p-value of each, multiplied by the
-- number of settings tried. A ticker that is judged now is left out only where its candidate was trained on the session.
select distinct on (trained_on, ticker)
       trained_on, ticker,
       least(1, (evidence ->> 'timing_p')::double precision * (multiple_testing ->> 'num_settings')::double precision) as p_value,
       (evidence ->> 'coin_passes')::double precision as coin_passes
from gate_verdict
where trained_on = any(%(sessions)s::date[])
  and (trained_on, ticker) not in (select * from unnest(%(trained_on)s::date[], %(tickers)s::text[]))
  and evidence is not null and multiple_testing is not null
order by trained_on, ticker, verdict_id desc;

-- name: active_files
-- The checkpoint files of active models, of some tickers or of all.
select ticker, version, file_name, file_sha256
from checkpoint
where status = 'active' and (%(tickers)s::text[] is null or ticker = any (%(tickers)s))
order by ticker;
