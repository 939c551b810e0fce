-- What the gate saw stays on record, a network may come back, and files that nobody needs any more may go.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table backtest
    add column window_leaks jsonb,
    add column made_in      xid8;
alter table backtest_fold
    add column leaks jsonb;
alter table checkpoint
    add column leaks           jsonb,
    add column restores        bigint references checkpoint,
    add column file_removed_at timestamptz,
    add constraint checkpoint_that_restores_is_promoted check (restores is null or status <> 'candidate'),
    add constraint checkpoint_active_has_its_file check (status <> 'active' or file_removed_at is null);
alter table gate_verdict
    add column evidence jsonb,
    add column standing jsonb;

comment on column backtest.window_leaks is
    'Of sampled windows of the stored bars: how many were compared, moved with later bars, or were scaled by others. NULL: not sampled.';
comment on column backtest.made_in is 'The transaction that made it: its folds come in this one or never. NULL in rows from before.';
comment on column backtest_fold.leaks is 'Rows of the fold that saw what they must not, counted by kind. NULL in rows from before.';
comment on column checkpoint.leaks is 'The same of its own training and validation rows.';
comment on column checkpoint.restores is
    'The retired version that this one brings back, the one that earned it: the same network under a new version.';
comment on column checkpoint.file_removed_at is 'Since when its file is gone: nobody needed it any more.';
comment on column gate_verdict.evidence is 'What the backtest shows beyond the rules: intervals, tests, base rates.';
comment on column gate_verdict.standing is 'The ticker among all that were judged on the same evening, and its trainings so far.';

-- The same network may be on record twice when the second one restores the first.
alter table checkpoint drop constraint checkpoint_once_per_content;
create unique index checkpoint_once_per_content
    on checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256)
    where restores is null;

create index snapshot_by_checkpoint on snapshot (checkpoint_id, run_date);
create index gate_verdict_by_evening on gate_verdict (trained_on, ticker, verdict_id desc);

-- What people order is on record with who and why.
create table registry_order (
    order_id      bigint      generated always as identity primary key,
    ticker        text        not null,
    action        text        not null check (action in ('rollback', 'retirement')),
    checkpoint_id bigint      not null references checkpoint,
    ordered_by    text        not null check (btrim(ordered_by) <> ''),
    database_role name        not null default session_user,
    why           text        not null check (btrim(why) <> ''),
    ordered_at    timestamptz not null default clock_timestamp(),
    constraint registry_order_once unique (checkpoint_id, action)
);

create index registry_order_by_ticker on registry_order (ticker, order_id);

comment on table registry_order is 'Rollbacks and retirements that were ordered and not earned at the gate.';
comment on column registry_order.checkpoint_id is 'What became active by a rollback; what a retirement took out.';

-- An order is recorded in the transaction that carries it out, by the database's clock.
create function registry_order_is_carried_out() returns trigger language plpgsql set search_path from current as $$
declare
    model checkpoint;
begin
    select * into model from checkpoint where checkpoint.checkpoint_id = new.checkpoint_id;
    if model.ticker is distinct from new.ticker
       or (new.action = 'rollback' and (model.restores is null or model.activated_at < now()))
       or (new.action = 'retirement' and (model.retired_at is null or model.retired_at < now())) then
        raise exception 'the % of checkpoint % of % is not what this transaction does', new.action, new.checkpoint_id, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    new.ordered_at := clock_timestamp();
    new.database_role := session_user;
    return new;
end $$;

create trigger registry_order_is_carried_out before insert on registry_order
for each row execute function registry_order_is_carried_out();

-- A network that comes back is the one that was retired, with all that was measured of it, under a version of its own.
create function checkpoint_restores_what_was_retired() returns trigger language plpgsql set search_path from current as $$
declare
    retired checkpoint;
begin
    select * into retired from checkpoint where checkpoint_id = new.restores;
    if retired.status is distinct from 'retired' or retired.restores is not null
       or (new.ticker, new.trained_on, new.architecture_sha256, new.recipe_sha256, new.data_sha256, new.file_sha256, new.seed,
           new.major)
          is distinct from
          (retired.ticker, retired.trained_on, retired.architecture_sha256, retired.recipe_sha256, retired.data_sha256,
           retired.file_sha256, retired.seed, retired.major)
       or (new.num_training_rows, new.num_validation_rows, new.num_epochs, new.best_epoch, new.validation_loss,
           new.no_change_loss, new.training_losses, new.validation_losses, new.duration_seconds, new.device,
           new.gpu_index, new.vram_peak_mib, new.leaks)
          is distinct from
          (retired.num_training_rows, retired.num_validation_rows, retired.num_epochs, retired.best_epoch,
           retired.validation_loss, retired.no_change_loss, retired.training_losses, retired.validation_losses,
           retired.duration_seconds, retired.device, retired.gpu_index, retired.vram_peak_mib, retired.leaks) then
        raise exception 'checkpoint % of % does not restore a retired network of that ticker', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger checkpoint_restores_what_was_retired before insert on checkpoint
for each row when (new.restores is not null) execute function checkpoint_restores_what_was_retired();

-- What speaks has passed the gate, or was ordered back. Asked at commit, as verdicts and orders are written after it.
create function checkpoint_has_passed() returns trigger language plpgsql set search_path from current as $$
begin
    if not coalesce((select passed from gate_verdict
                     where gate_verdict.ticker = new.ticker and gate_verdict.checkpoint_id = new.checkpoint_id
                     order by verdict_id desc limit 1), false) then
        raise exception 'checkpoint % of % did not pass the gate and cannot be promoted: its newest verdict must say so',
            new.version, new.ticker using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create constraint trigger checkpoint_active_has_passed after update on checkpoint
deferrable initially deferred
for each row when (old.status = 'candidate' and new.status = 'active') execute function checkpoint_has_passed();
create constraint trigger checkpoint_arrives_with_a_verdict after insert on checkpoint
deferrable initially deferred
for each row when (new.status <> 'candidate' and new.restores is null) execute function checkpoint_has_passed();

create function checkpoint_was_ordered_back() returns trigger language plpgsql set search_path from current as $$
begin
    if not exists (select from registry_order
                   where registry_order.checkpoint_id = new.checkpoint_id and action = 'rollback') then
        raise exception 'checkpoint % of % came back without an order on record', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create constraint trigger checkpoint_comes_back_by_order after insert on checkpoint
deferrable initially deferred
for each row when (new.restores is not null) execute function checkpoint_was_ordered_back();

create function checkpoint_has_a_successor_or_an_order() returns trigger language plpgsql set search_path from current as $$
begin
    if not exists (select from checkpoint
                   where checkpoint.ticker = new.ticker and checkpoint.checkpoint_id <> new.checkpoint_id
                     and (status = 'active' or activated_at >= new.retired_at))
       and not exists (select from registry_order
                       where registry_order.checkpoint_id = new.checkpoint_id and action = 'retirement') then
        raise exception 'checkpoint % of % retired without a successor and without an order on record', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create constraint trigger checkpoint_retires_for_a_reason after update on checkpoint
deferrable initially deferred
for each row when (old.status = 'active' and new.status = 'retired')
execute function checkpoint_has_a_successor_or_an_order();
create constraint trigger checkpoint_arrives_retired_for_a_reason after insert on checkpoint
deferrable initially deferred
for each row when (new.status = 'retired') execute function checkpoint_has_a_successor_or_an_order();

-- A verdict is dated by the database, and is about the network and the backtest that it names.
create function gate_verdict_is_about_its_network() returns trigger language plpgsql set search_path from current as $$
begin
    new.decided_at := clock_timestamp();
    if new.checkpoint_id is not null and not exists (
           select from checkpoint c
           where c.checkpoint_id = new.checkpoint_id and c.ticker = new.ticker and c.trained_on = new.trained_on) then
        raise exception 'the verdict on % names checkpoint %, which is no network of that ticker trained on bars up to %',
            new.ticker, new.checkpoint_id, new.trained_on using errcode = 'integrity_constraint_violation';
    elsif new.backtest_id is not null and not exists (
           select from backtest b
           join checkpoint c using (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
           where b.backtest_id = new.backtest_id and c.checkpoint_id = new.checkpoint_id) then
        raise exception 'the verdict on % names backtest %, which is not one of what checkpoint % was trained on',
            new.ticker, new.backtest_id, new.checkpoint_id using errcode = 'integrity_constraint_violation';
    elsif new.backtest_id is null and (new.evidence is not null or new.standing is not null) then
        raise exception 'the verdict on % has evidence and names no backtest that shows it', new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger gate_verdict_is_about_its_network before insert on gate_verdict
for each row execute function gate_verdict_is_about_its_network();

-- A backtest is whole when its transaction commits: nobody adds a fold or a forecast to one that was judged. The
-- query is planned each time, as in fills_are_events: a plan kept from a few rows is slow for a universe's.
create function backtest_is_dated_by_the_database() returns trigger language plpgsql as $$
begin
    new.made_in := pg_current_xact_id();
    new.created_at := clock_timestamp();
    return new;
end $$;

create function backtest_is_made_at_once() returns trigger language plpgsql set search_path from current as $$
declare
    judged record;
begin
    execute $query$
    select b.backtest_id, b.ticker
    from (select distinct backtest_id from added) a
    join backtest b using (backtest_id)
    where b.made_in is distinct from pg_current_xact_id()
    order by b.backtest_id
    limit 1
    $query$ into judged;
    if judged.backtest_id is not null then
        raise exception 'backtest % of % is on record: nothing is added to it', judged.backtest_id, judged.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger backtest_is_dated_by_the_database before insert on backtest
for each row execute function backtest_is_dated_by_the_database();
create trigger backtest_fold_is_made_at_once after insert on backtest_fold
referencing new table as added for each statement execute function backtest_is_made_at_once();
create trigger backtest_prediction_is_made_at_once after insert on backtest_prediction
referencing new table as added for each statement execute function backtest_is_made_at_once();

-- A file may go when its network is not active and no forecast refers to it; a candidate trained again gets its file back.
create function checkpoint_file_may_go() returns trigger language plpgsql set search_path from current as $$
begin
    if new.file_removed_at is not null then
        new.file_removed_at := clock_timestamp();
        if exists (select from snapshot where snapshot.checkpoint_id = new.checkpoint_id)
           or exists (select from shadow_forecast where shadow_forecast.checkpoint_id = new.checkpoint_id) then
            raise exception 'the file of checkpoint % of % is needed: forecasts refer to it',
                coalesce(new.version, new.file_name), new.ticker using errcode = 'integrity_constraint_violation';
        end if;
    elsif old.status <> 'candidate' then
        raise exception 'the file of checkpoint % of % was removed and does not come back', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger checkpoint_file_may_go before update of file_removed_at on checkpoint
for each row when (old.file_removed_at is distinct from new.file_removed_at) execute function checkpoint_file_may_go();

-- Writers of forecasts and of this mark wait for each other, see a_turn_in_the_chain: no forecast slips in between.
create function snapshot_has_its_checkpoint_file() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select from checkpoint where checkpoint.checkpoint_id = new.checkpoint_id and file_removed_at is not null) then
        raise exception 'the file of checkpoint %, which the forecast of % on % names, was removed',
            new.checkpoint_id, new.ticker, new.run_date using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger snapshot_has_its_checkpoint_file before insert on snapshot
for each row when (new.checkpoint_id is not null) execute function snapshot_has_its_checkpoint_file();

create or replace function checkpoint_is_immutable() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.status = 'candidate' then
            return old;
        end if;
        raise exception 'checkpoint % of % was promoted and cannot be deleted', old.version, old.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    if (new.ticker, new.trained_on, new.architecture_sha256, new.recipe_sha256, new.data_sha256, new.file_sha256, new.seed)
       is distinct from
       (old.ticker, old.trained_on, old.architecture_sha256, old.recipe_sha256, old.data_sha256, old.file_sha256, old.seed)
       or (new.num_training_rows, new.num_validation_rows, new.num_epochs, new.best_epoch, new.validation_loss,
           new.no_change_loss, new.training_losses, new.validation_losses, new.duration_seconds, new.device,
           new.gpu_index, new.vram_peak_mib, new.created_at, new.leaks, new.restores)
          is distinct from
          (old.num_training_rows, old.num_validation_rows, old.num_epochs, old.best_epoch, old.validation_loss,
           old.no_change_loss, old.training_losses, old.validation_losses, old.duration_seconds, old.device,
           old.gpu_index, old.vram_peak_mib, old.created_at, old.leaks, old.restores)
       or (old.status <> 'candidate'
           and (new.file_name, new.major, new.version, new.activated_at)
               is distinct from (old.file_name, old.major, old.version, old.activated_at)) then
        raise exception 'checkpoint % of % is on record and cannot be altered',
            coalesce(old.version, old.file_name), old.ticker using errcode = 'integrity_constraint_violation';
    end if;
    if (old.status, new.status) not in (('candidate', 'candidate'), ('candidate', 'active'),
                                        ('active', 'active'), ('active', 'retired'), ('retired', 'retired')) then
        raise exception 'a checkpoint of % cannot go from % to %', old.ticker, old.status, new.status
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

-- What a verdict rests on is as final as the verdict.
create trigger backtest_is_append_only before update or delete or truncate on backtest
for each statement execute function is_append_only();
create trigger backtest_fold_is_append_only before update or delete or truncate on backtest_fold
for each statement execute function is_append_only();
create trigger backtest_prediction_is_append_only before update or delete or truncate on backtest_prediction
for each statement execute function is_append_only();
create trigger gate_verdict_is_append_only before update or delete or truncate on gate_verdict
for each statement execute function is_append_only();
create trigger registry_order_is_append_only before update or delete or truncate on registry_order
for each statement execute function is_append_only();

alter table backtest enable always trigger backtest_is_append_only;
alter table backtest_fold enable always trigger backtest_fold_is_append_only;
alter table backtest_prediction enable always trigger backtest_prediction_is_append_only;
alter table gate_verdict enable always trigger gate_verdict_is_append_only;
alter table registry_order enable always trigger registry_order_is_append_only;
alter table registry_order enable always trigger registry_order_is_carried_out;
alter table checkpoint enable always trigger checkpoint_restores_what_was_retired;
alter table checkpoint enable always trigger checkpoint_file_may_go;
alter table snapshot enable always trigger snapshot_has_its_checkpoint_file;
alter table checkpoint enable always trigger checkpoint_active_has_passed;
alter table checkpoint enable always trigger checkpoint_arrives_with_a_verdict;
alter table checkpoint enable always trigger checkpoint_comes_back_by_order;
alter table checkpoint enable always trigger checkpoint_retires_for_a_reason;
alter table checkpoint enable always trigger checkpoint_arrives_retired_for_a_reason;
alter table gate_verdict enable always trigger gate_verdict_is_about_its_network;
alter table backtest enable always trigger backtest_is_dated_by_the_database;
alter table backtest_fold enable always trigger backtest_fold_is_made_at_once;
alter table backtest_prediction enable always trigger backtest_prediction_is_made_at_once;
