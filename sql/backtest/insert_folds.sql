insert into backtest_fold (
    backtest_id, fold, train_cutoff, first_test_session, last_test_session, num_leakage_rows,
    num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
    gpu_index, vram_peak_mib, no_change_loss, training_losses, validation_losses, leaks)
select backtest_id, fold, train_cutoff, first_test_session, last_test_session, num_leakage_rows,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
       gpu_index, vram_peak_mib, no_change_loss, training_losses::double precision[], validation_losses::double precision[],
       leaks
from unnest(
    %(backtest_ids)s::bigint[], %(folds)s::integer[], %(train_cutoffs)s::date[],
    %(first_test_sessions)s::date[], %(last_test_sessions)s::date[], %(num_leakage_rows)s::integer[],
    %(num_training_rows)s::integer[], %(num_validation_rows)s::integer[], %(num_epochs)s::integer[],
    %(best_epoch)s::integer[], %(validation_loss)s::double precision[], %(duration_seconds)s::double precision[],
    %(device)s::text[], %(gpu_index)s::integer[], %(vram_peak_mib)s::double precision[],
    %(no_change_loss)s::double precision[], %(training_losses)s::text[], %(validation_losses)s::text[],
    %(leaks)s::jsonb[])
    as trained (backtest_id, fold, train_cutoff, first_test_session, last_test_session, num_leakage_rows,
                num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
                gpu_index, vram_peak_mib, no_change_loss, training_losses, validation_losses, leaks);
