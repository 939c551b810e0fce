select checkpoint_id, null as fold, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
       no_change_loss, training_losses, validation_losses, duration_seconds, device, gpu_index, vram_peak_mib
from checkpoint
where checkpoint_id = any(%(checkpoint_ids)s::bigint[]);
