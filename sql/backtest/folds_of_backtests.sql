select backtest_id, fold, train_cutoff, num_training_rows, num_validation_rows, num_epochs, validation_loss, leaks
from backtest_fold
where backtest_id = any(%(backtest_ids)s::bigint[])
order by backtest_id, fold;
