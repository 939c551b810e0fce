-- How every network was trained stays on record: its losses epoch by epoch, and where that happened.
-- NULL in rows from before; vram_peak_mib also where no CUDA device was at work.

alter table checkpoint
    add column gpu_index         integer,
    add column vram_peak_mib     double precision,
    add column no_change_loss    double precision,
    add column training_losses   double precision[],
    add column validation_losses double precision[],
    add constraint checkpoint_has_one_loss_per_epoch check (
        cardinality(training_losses) = num_epochs and cardinality(validation_losses) = num_epochs);

comment on column checkpoint.gpu_index is 'Which of the machine''s GPUs was leased for the training.';
comment on column checkpoint.vram_peak_mib is 'The most memory of the device that the process held while the network trained.';
comment on column checkpoint.no_change_loss is
    'The validation loss of forecasting no change: what validation_loss is to be compared with.';

alter table backtest_fold
    add column best_epoch        integer,
    add column duration_seconds  double precision,
    add column device            text,
    add column gpu_index         integer,
    add column vram_peak_mib     double precision,
    add column no_change_loss    double precision,
    add column training_losses   double precision[],
    add column validation_losses double precision[],
    add constraint backtest_fold_has_one_loss_per_epoch check (
        cardinality(training_losses) = num_epochs and cardinality(validation_losses) = num_epochs);

-- What was measured in training is as immutable as the weights, from the moment the row is there.
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
           new.gpu_index, new.vram_peak_mib, new.created_at)
          is distinct from
          (old.num_training_rows, old.num_validation_rows, old.num_epochs, old.best_epoch, old.validation_loss,
           old.no_change_loss, old.training_losses, old.validation_losses, old.duration_seconds, old.device,
           old.gpu_index, old.vram_peak_mib, old.created_at)
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
