select checkpoint_id, ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device, version, major,
       leaks, restores, file_removed_at
from checkpoint
where ticker = any(%(tickers)s::text[]) and status <> 'candidate'
order by activated_at desc, checkpoint_id desc;
