-- Input windows, checkpoints, backtests, gate verdicts and lifecycle actions. At most one checkpoint of a ticker is
-- active.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create table input_window (
    ticker              text        not null,
    session             date        not null,
    recorded_at         timestamptz not null default clock_timestamp(),
    window_sha256       text,
    inputs              bytea,
    close               double precision,
    close_min           double precision,
    close_max           double precision,
    not_ready           text,
    bars_recorded_until timestamptz,
    primary key (ticker, session, recorded_at),
    constraint input_window_is_ready_or_says_why check (
        (not_ready is null and window_sha256 is not null and inputs is not null and close is not null
         and close_min is not null and close_max is not null and bars_recorded_until is not null)
        or (not_ready is not null and window_sha256 is null and inputs is null))
);

comment on table input_window is 'The scaled input window of a forecast: 30 x 11 little-endian float32, sessions by inputs.';
comment on column input_window.bars_recorded_until is 'The newest recorded_at among the bars of the window.';

create trigger input_window_is_append_only before update or delete or truncate on input_window
for each statement execute function is_append_only();
alter table input_window enable always trigger input_window_is_append_only;

create view current_input_window as
select distinct on (ticker, session)
    ticker, session, recorded_at, window_sha256, inputs, close, close_min, close_max, not_ready, bars_recorded_until
from input_window
order by ticker, session, recorded_at desc;

create table checkpoint (
    checkpoint_id         bigint generated always as identity primary key,
    ticker                text             not null,
    status                text             not null default 'candidate'
                          check (status in ('candidate', 'active', 'retired')),
    trained_on            date             not null,
    architecture_sha256   text             not null,
    recipe_sha256         text             not null,
    data_sha256           text             not null,
    file_name             text             not null,
    file_sha256           text             not null,
    seed                  bigint           not null,
    num_training_rows     integer          not null,
    num_validation_rows   integer          not null,
    num_epochs            integer          not null,
    best_epoch            integer          not null,
    validation_loss       double precision not null,
    duration_seconds      double precision not null,
    device                text             not null,
    major                 integer,
    version               text,
    created_at            timestamptz      not null default clock_timestamp(),
    activated_at          timestamptz,
    retired_at            timestamptz,
    gpu_index             integer,
    vram_peak_mib         double precision,
    no_change_loss        double precision,
    training_losses       double precision[],
    validation_losses     double precision[],
    leaks                 jsonb,
    restores              bigint           references checkpoint,
    file_removed_at       timestamptz,
    constraint checkpoint_version_once_per_ticker unique (ticker, version),
    constraint checkpoint_version_needs_promotion check (
        (status = 'candidate' and version is null and major is null and activated_at is null)
        or (status <> 'candidate' and version is not null and major is not null and activated_at is not null)),
    constraint checkpoint_retired_has_a_date check ((status = 'retired') = (retired_at is not null)),
    constraint checkpoint_that_restores_is_promoted check (restores is null or status <> 'candidate'),
    constraint checkpoint_active_has_its_file check (status <> 'active' or file_removed_at is null),
    constraint checkpoint_has_one_loss_per_epoch check (
        cardinality(training_losses) = num_epochs and cardinality(validation_losses) = num_epochs)
);

create unique index checkpoint_once_per_content
    on checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256)
    where restores is null;
create unique index checkpoint_one_active_per_ticker on checkpoint (ticker) where status = 'active';
-- Two candidates with the same content share a file; a promoted checkpoint has its own file.
create unique index checkpoint_one_promotion_per_file on checkpoint (file_name) where status <> 'candidate';
create index checkpoint_newest on checkpoint (ticker, trained_on desc, checkpoint_id desc);

comment on column checkpoint.trained_on is 'The last session whose bars the training could use.';
comment on column checkpoint.gpu_index is 'Index of the GPU that was leased for the training.';
comment on column checkpoint.vram_peak_mib is 'Peak device memory of the process while the network trained; NULL without a CUDA device.';
comment on column checkpoint.no_change_loss is
    'Validation loss of the no-change forecast, the yardstick of validation_loss.';
comment on column checkpoint.leaks is 'Training and validation rows with look-ahead, counted by kind.';
comment on column checkpoint.restores is
    'The retired checkpoint that passed the gate and whose network this one restores under a new version.';
comment on column checkpoint.file_removed_at is 'When the file was removed; NULL while it is kept.';

create table backtest (
    backtest_id         bigint generated always as identity primary key,
    ticker              text        not null,
    trained_on          date        not null,
    architecture_sha256 text        not null,
    recipe_sha256       text        not null,
    data_sha256         text        not null,
    plan_sha256         text        not null,
    created_at          timestamptz not null default clock_timestamp(),
    window_leaks        jsonb,
    made_in             xid8,
    constraint backtest_once_per_input
        unique (ticker, architecture_sha256, recipe_sha256, data_sha256, trained_on, plan_sha256)
);

comment on column backtest.plan_sha256 is 'Fingerprint of the fold plan: number, length and embargo of the folds.';
comment on column backtest.window_leaks is
    'Counts of sampled windows: compared, changed by later bars, scaled by other values. NULL: not sampled.';
comment on column backtest.made_in is 'The transaction that made the backtest; its folds must be inserted in the same one.';

create table backtest_fold (
    backtest_id         bigint           not null references backtest on delete cascade,
    fold                integer          not null,
    train_cutoff        date             not null,
    first_test_session  date             not null,
    last_test_session   date             not null,
    num_training_rows   integer          not null,
    num_validation_rows integer          not null,
    num_leakage_rows    integer          not null,
    num_epochs          integer          not null,
    validation_loss     double precision not null,
    best_epoch          integer,
    duration_seconds    double precision,
    device              text,
    gpu_index           integer,
    vram_peak_mib       double precision,
    no_change_loss      double precision,
    training_losses     double precision[],
    validation_losses   double precision[],
    leaks               jsonb,
    primary key (backtest_id, fold),
    constraint backtest_fold_has_one_loss_per_epoch check (
        cardinality(training_losses) = num_epochs and cardinality(validation_losses) = num_epochs)
);

comment on column backtest_fold.train_cutoff is
    'The latest session that any training or validation row of the fold reads, labels included.';
comment on column backtest_fold.leaks is 'Rows of the fold with look-ahead, counted by kind.';

create table backtest_prediction (
    backtest_id         bigint           not null,
    fold                integer          not null,
    session             date             not null,
    close               double precision not null,
    next_day_pred       double precision not null,
    next_monday_pred    double precision not null,
    one_month_pred      double precision not null,
    next_day_actual     double precision not null,
    next_monday_actual  double precision not null,
    one_month_actual    double precision not null,
    primary key (backtest_id, fold, session),
    foreign key (backtest_id, fold) references backtest_fold on delete cascade
);

-- A backtest is complete when its transaction commits: no fold or prediction can be added to a backtest that was
-- judged. EXECUTE plans the query for each statement, as in fills_are_events: a plan cached for a few rows is slow for
-- a universe.
create function backtest_is_dated_by_the_database() returns trigger language plpgsql as $$
begin
    new.made_in := pg_current_xact_id();
    new.created_at := clock_timestamp();
    return new;
end $$;

create trigger backtest_is_dated_by_the_database before insert on backtest
for each row execute function backtest_is_dated_by_the_database();
alter table backtest enable always trigger backtest_is_dated_by_the_database;

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

create trigger backtest_fold_is_made_at_once after insert on backtest_fold
referencing new table as added for each statement execute function backtest_is_made_at_once();
alter table backtest_fold enable always trigger backtest_fold_is_made_at_once;
create trigger backtest_prediction_is_made_at_once after insert on backtest_prediction
referencing new table as added for each statement execute function backtest_is_made_at_once();
alter table backtest_prediction enable always trigger backtest_prediction_is_made_at_once;

-- The backtest of a verdict is as immutable as the verdict.
create trigger backtest_is_append_only before update or delete or truncate on backtest
for each statement execute function is_append_only();
alter table backtest enable always trigger backtest_is_append_only;
create trigger backtest_fold_is_append_only before update or delete or truncate on backtest_fold
for each statement execute function is_append_only();
alter table backtest_fold enable always trigger backtest_fold_is_append_only;
create trigger backtest_prediction_is_append_only before update or delete or truncate on backtest_prediction
for each statement execute function is_append_only();
alter table backtest_prediction enable always trigger backtest_prediction_is_append_only;

create table training_failure (
    ticker              text        not null,
    part                text        not null check (part in ('checkpoint', 'backtest')),
    trained_on          date        not null,
    architecture_sha256 text        not null,
    recipe_sha256       text        not null,
    data_sha256         text        not null,
    reason              text        not null,
    failed_at           timestamptz not null default clock_timestamp(),
    primary key (ticker, part, trained_on, architecture_sha256, recipe_sha256, data_sha256)
);

comment on table training_failure is 'Why a ticker has no candidate, or its candidate no backtest: too few bars, or a loss that is not finite.';

create table gate_verdict (
    verdict_id    bigint generated always as identity primary key,
    ticker        text        not null,
    trained_on    date,
    checkpoint_id bigint      references checkpoint,
    backtest_id   bigint      references backtest,
    passed        boolean     not null,
    rules         jsonb       not null,
    decided_at    timestamptz not null default clock_timestamp(),
    evidence      jsonb,
    multiple_testing jsonb
);

create index gate_verdict_newest on gate_verdict (ticker, verdict_id desc);
create index gate_verdict_by_session on gate_verdict (trained_on, ticker, verdict_id desc);

comment on column gate_verdict.rules is 'A list of {rule, figure, bound, passed, reason}, one per rule of the gate.';
comment on column gate_verdict.trained_on is 'trained_on of the judged candidate; NULL for a ticker that was never trained.';
comment on column gate_verdict.evidence is 'Statistics of the backtest beyond the rules: intervals, tests, base rates.';
comment on column gate_verdict.multiple_testing is 'Correction for all tickers judged for the same session and for the trainings of the ticker so far.';

-- A verdict is dated by the database, and must match the checkpoint and the backtest that it names.
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
    elsif new.backtest_id is null and (new.evidence is not null or new.multiple_testing is not null) then
        raise exception 'the verdict on % has evidence and names no backtest that shows it', new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger gate_verdict_is_about_its_network before insert on gate_verdict
for each row execute function gate_verdict_is_about_its_network();
alter table gate_verdict enable always trigger gate_verdict_is_about_its_network;
create trigger gate_verdict_is_append_only before update or delete or truncate on gate_verdict
for each statement execute function is_append_only();
alter table gate_verdict enable always trigger gate_verdict_is_append_only;

-- Lifecycle actions are recorded with who requested them and why.
create table lifecycle_action (
    action_id     bigint      generated always as identity primary key,
    ticker        text        not null,
    action        text        not null check (action in ('rollback', 'retirement')),
    checkpoint_id bigint      not null references checkpoint,
    requested_by  text        not null check (btrim(requested_by) <> ''),
    database_role name        not null default session_user,
    why           text        not null check (btrim(why) <> ''),
    recorded_at   timestamptz not null default clock_timestamp(),
    constraint lifecycle_action_once unique (checkpoint_id, action)
);

create index lifecycle_action_by_ticker on lifecycle_action (ticker, action_id);

comment on table lifecycle_action is 'Rollbacks and retirements requested by a person or a policy, as opposed to gate results.';
comment on column lifecycle_action.checkpoint_id is 'The checkpoint that a rollback made active, or that a retirement retired.';

-- A lifecycle action is recorded in the transaction that performs it, dated by the database.
create function lifecycle_action_is_carried_out() returns trigger language plpgsql set search_path from current as $$
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
    new.recorded_at := clock_timestamp();
    new.database_role := session_user;
    return new;
end $$;

create trigger lifecycle_action_is_carried_out before insert on lifecycle_action
for each row execute function lifecycle_action_is_carried_out();
alter table lifecycle_action enable always trigger lifecycle_action_is_carried_out;
create trigger lifecycle_action_is_append_only before update or delete or truncate on lifecycle_action
for each statement execute function is_append_only();
alter table lifecycle_action enable always trigger lifecycle_action_is_append_only;

create function checkpoint_is_immutable() returns trigger language plpgsql as $$
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

create trigger checkpoint_is_immutable before update or delete on checkpoint
for each row execute function checkpoint_is_immutable();
alter table checkpoint enable always trigger checkpoint_is_immutable;

-- The database dates promotion and retirement; neither date can be changed afterwards.
create function checkpoint_is_dated_by_the_database() returns trigger language plpgsql as $$
begin
    if new.status = 'active' and (tg_op = 'INSERT' or old.status = 'candidate') then
        new.activated_at := clock_timestamp();
    elsif new.status = 'retired' and (tg_op = 'INSERT' or old.status = 'active') then
        new.activated_at := case tg_op when 'INSERT' then clock_timestamp() else old.activated_at end;
        new.retired_at := clock_timestamp();
    elsif tg_op = 'UPDATE' and new.status = old.status
          and (new.activated_at, new.retired_at) is distinct from (old.activated_at, old.retired_at) then
        raise exception 'checkpoint % of % is on record and cannot be altered',
            coalesce(old.version, old.file_name), old.ticker using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger checkpoint_is_dated_by_the_database before insert or update on checkpoint
for each row execute function checkpoint_is_dated_by_the_database();
alter table checkpoint enable always trigger checkpoint_is_dated_by_the_database;

-- A restored checkpoint has the network and all measurements of the retired one, under a new version.
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
alter table checkpoint enable always trigger checkpoint_restores_what_was_retired;

-- An active model has passed the gate or was restored by a rollback. Checked at commit, since verdicts and lifecycle
-- actions are written after the checkpoint.
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
alter table checkpoint enable always trigger checkpoint_active_has_passed;
create constraint trigger checkpoint_arrives_with_a_verdict after insert on checkpoint
deferrable initially deferred
for each row when (new.status <> 'candidate' and new.restores is null) execute function checkpoint_has_passed();
alter table checkpoint enable always trigger checkpoint_arrives_with_a_verdict;

create function checkpoint_has_a_rollback() returns trigger language plpgsql set search_path from current as $$
begin
    if not exists (select from lifecycle_action
                   where lifecycle_action.checkpoint_id = new.checkpoint_id and action = 'rollback') then
        raise exception 'checkpoint % of % was restored without a rollback on record', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create constraint trigger checkpoint_restored_has_a_rollback after insert on checkpoint
deferrable initially deferred
for each row when (new.restores is not null) execute function checkpoint_has_a_rollback();
alter table checkpoint enable always trigger checkpoint_restored_has_a_rollback;

create function checkpoint_has_a_successor_or_a_retirement() returns trigger language plpgsql set search_path from current as $$
begin
    if not exists (select from checkpoint
                   where checkpoint.ticker = new.ticker and checkpoint.checkpoint_id <> new.checkpoint_id
                     and (status = 'active' or activated_at >= new.retired_at))
       and not exists (select from lifecycle_action
                       where lifecycle_action.checkpoint_id = new.checkpoint_id and action = 'retirement') then
        raise exception 'checkpoint % of % retired without a successor and without a retirement on record', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create constraint trigger checkpoint_retires_for_a_reason after update on checkpoint
deferrable initially deferred
for each row when (old.status = 'active' and new.status = 'retired')
execute function checkpoint_has_a_successor_or_a_retirement();
alter table checkpoint enable always trigger checkpoint_retires_for_a_reason;
create constraint trigger checkpoint_arrives_retired_for_a_reason after insert on checkpoint
deferrable initially deferred
for each row when (new.status = 'retired') execute function checkpoint_has_a_successor_or_a_retirement();
alter table checkpoint enable always trigger checkpoint_arrives_retired_for_a_reason;

-- The file of a network that is not active and that no forecast refers to can be removed. Training a candidate again
-- writes its file again.
create function checkpoint_file_is_removable() returns trigger language plpgsql set search_path from current as $$
begin
    if new.file_removed_at is not null then
        new.file_removed_at := clock_timestamp();
        if exists (select from snapshot where snapshot.checkpoint_id = new.checkpoint_id)
           or exists (select from shadow_forecast where shadow_forecast.checkpoint_id = new.checkpoint_id) then
            raise exception 'the file of checkpoint % of % is needed: forecasts refer to it',
                coalesce(new.version, new.file_name), new.ticker using errcode = 'integrity_constraint_violation';
        end if;
    elsif old.status <> 'candidate' then
        raise exception 'the file of checkpoint % of % was removed and cannot be restored', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create trigger checkpoint_file_is_removable before update of file_removed_at on checkpoint
for each row when (old.file_removed_at is distinct from new.file_removed_at) execute function checkpoint_file_is_removable();
alter table checkpoint enable always trigger checkpoint_file_is_removable;
