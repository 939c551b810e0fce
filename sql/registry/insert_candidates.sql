insert into checkpoint (
    ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
    num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
    gpu_index, vram_peak_mib, no_change_loss, training_losses, validation_losses, leaks)
select ticker, trained_on, architecture, recipe, data, file_name, file_sha256, seed,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
       gpu_index, vram_peak_mib, no_change_loss, training_losses::double precision[], validation_losses::double precision[],
       leaks
from unnest(
    %(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[],
    %(file_names)s::text[], %(file_sha256s)s::text[], %(seeds)s::bigint[],
    %(num_training_rows)s::integer[], %(num_validation_rows)s::integer[], %(num_epochs)s::integer[],
    %(best_epoch)s::integer[], %(validation_loss)s::double precision[], %(duration_seconds)s::double precision[],
    %(device)s::text[], %(gpu_index)s::integer[], %(vram_peak_mib)s::double precision[],
    %(no_change_loss)s::double precision[], %(training_losses)s::text[], %(validation_losses)s::text[],
    %(leaks)s::jsonb[])
    as trained (ticker, trained_on, architecture, recipe, data, file_name, file_sha256, seed,
                num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
                gpu_index, vram_peak_mib, no_change_loss, training_losses, validation_losses, leaks)
on conflict (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256) where restores is null
do update set file_removed_at = null
where checkpoint.status = 'candidate' and checkpoint.file_removed_at is not null;
