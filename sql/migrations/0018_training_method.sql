-- How a network was trained on a GPU: by which method, and why not by a faster one.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table checkpoint add column training_method text;
alter table backtest_fold add column training_method text;

comment on column checkpoint.training_method is
    'The method on the GPU, with the reason where a faster one broke off; NULL on the CPU and for networks of before.';

-- As in migration 0011, with the new column.
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
           new.no_change_loss, new.horizon_errors, new.no_change_errors, new.training_losses, new.validation_losses, new.duration_seconds, new.device,
           new.gpu_index, new.vram_peak_mib, new.training_method, new.created_at, new.leaks, new.restores)
          is distinct from
          (old.num_training_rows, old.num_validation_rows, old.num_epochs, old.best_epoch, old.validation_loss,
           old.no_change_loss, old.horizon_errors, old.no_change_errors, old.training_losses, old.validation_losses, old.duration_seconds, old.device,
           old.gpu_index, old.vram_peak_mib, old.training_method, old.created_at, old.leaks, old.restores)
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

create or replace function checkpoint_restores_what_was_retired() returns trigger language plpgsql set search_path from current as $$
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
           new.no_change_loss, new.horizon_errors, new.no_change_errors, new.training_losses, new.validation_losses, new.duration_seconds, new.device,
           new.gpu_index, new.vram_peak_mib, new.training_method, new.leaks)
          is distinct from
          (retired.num_training_rows, retired.num_validation_rows, retired.num_epochs, retired.best_epoch,
           retired.validation_loss, retired.no_change_loss, retired.horizon_errors, retired.no_change_errors, retired.training_losses, retired.validation_losses,
           retired.duration_seconds, retired.device, retired.gpu_index, retired.vram_peak_mib, retired.training_method, retired.leaks) then
        raise exception 'checkpoint % of % does not restore a retired network of that ticker', new.version, new.ticker
            using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
