select backtest_id, fold, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
       no_change_loss, training_losses, validation_losses, duration_seconds, device, gpu_index, vram_peak_mib,
       tested.num_test_rows
from backtest_fold
cross join lateral (
    select count(*) as num_test_rows from backtest_prediction
    where backtest_prediction.backtest_id = backtest_fold.backtest_id
      and backtest_prediction.fold = backtest_fold.fold) as tested
where backtest_id = any(%(backtest_ids)s::bigint[])
order by backtest_id, fold;
