insert into checkpoint (
    ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
    num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
    gpu_index, vram_peak_mib, no_change_loss, training_losses, validation_losses, leaks,
    restores, major, version)
select ticker, 'active', trained_on, architecture_sha256, recipe_sha256, data_sha256, %(file_name)s, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
       gpu_index, vram_peak_mib, no_change_loss, training_losses, validation_losses, leaks,
       checkpoint_id, %(major)s, %(version)s
from checkpoint
where checkpoint_id = %(restores)s
returning checkpoint_id;
