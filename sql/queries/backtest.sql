-- name: insert_backtests
insert into backtest (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, plan_sha256, window_leaks)
select * from unnest(
    %(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[],
    %(plans)s::text[], %(window_leaks)s::jsonb[])
on conflict do nothing
returning backtest_id, ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256;

-- name: insert_folds
insert into backtest_fold (
    backtest_id, fold, train_cutoff, first_test_session, last_test_session, num_leakage_rows,
    num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
    gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors, no_change_errors,
    training_losses, validation_losses, leaks)
select backtest_id, fold, train_cutoff, first_test_session, last_test_session, num_leakage_rows,
       num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
       gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors::double precision[],
       no_change_errors::double precision[], training_losses::double precision[], validation_losses::double precision[],
       leaks
from unnest(
    %(backtest_ids)s::bigint[], %(folds)s::integer[], %(train_cutoffs)s::date[],
    %(first_test_sessions)s::date[], %(last_test_sessions)s::date[], %(num_leakage_rows)s::integer[],
    %(num_training_rows)s::integer[], %(num_validation_rows)s::integer[], %(num_epochs)s::integer[],
    %(best_epoch)s::integer[], %(validation_loss)s::double precision[], %(duration_seconds)s::double precision[],
    %(device)s::text[], %(gpu_index)s::integer[], %(vram_peak_mib)s::double precision[],
    %(training_method)s::text[],
    %(no_change_loss)s::double precision[], %(horizon_errors)s::text[], %(no_change_errors)s::text[],
    %(training_losses)s::text[], %(validation_losses)s::text[],
    %(leaks)s::jsonb[])
    as trained (backtest_id, fold, train_cutoff, first_test_session, last_test_session, num_leakage_rows,
                num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device,
                gpu_index, vram_peak_mib, training_method, no_change_loss, horizon_errors, no_change_errors,
                training_losses, validation_losses, leaks);

-- name: copy_predictions_in
copy backtest_prediction (
    backtest_id, fold, session, close, next_day_pred, next_monday_pred, one_month_pred,
    next_day_actual, next_monday_actual, one_month_actual, volatility)
from stdin (format csv);

-- name: backtests_of_inputs
select backtest_id, ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256
from backtest
join unnest(%(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[])
    as input (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
    using (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256)
where plan_sha256 = %(plan)s;

-- name: networks_of_backtests
select backtest_id, fold, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
       no_change_loss, horizon_errors, no_change_errors, training_losses, validation_losses,
       duration_seconds, device, gpu_index, vram_peak_mib, training_method,
       tested.num_test_rows
from backtest_fold
cross join lateral (
    select count(*) as num_test_rows from backtest_prediction
    where backtest_prediction.backtest_id = backtest_fold.backtest_id
      and backtest_prediction.fold = backtest_fold.fold) as tested
where backtest_id = any(%(backtest_ids)s::bigint[])
order by backtest_id, fold;

-- name: copy_predictions_out
copy (
    select backtest_id, fold, session, close, next_day_pred, next_monday_pred, one_month_pred,
           next_day_actual, next_monday_actual, one_month_actual, volatility
    from backtest_prediction
    where backtest_id = any(%(backtest_ids)s::bigint[])
    order by backtest_id, fold, session
) to stdout (format csv, header);

-- name: folds_of_backtests
select backtest_id, fold, train_cutoff, num_training_rows, num_validation_rows, num_epochs, validation_loss, leaks
from backtest_fold
where backtest_id = any(%(backtest_ids)s::bigint[])
order by backtest_id, fold;

-- name: window_leaks_of_backtests
select backtest_id, window_leaks
from backtest
where backtest_id = any(%(backtest_ids)s::bigint[]) and window_leaks is not null;

-- name: copy_tests_of_active_out
-- The next-day forecasts of the backtest of each active model, one per session, the newest fold's if there are several.
-- A backtest with the present plan comes first, then the newest one. An active model without a backtest has one row
-- without a session.
copy (
    select distinct on (ticker, session)
           ticker, checkpoint_id, version, session, close, volatility, next_day_pred, next_day_actual
    from checkpoint
    left join lateral (
        select backtest_id
        from backtest
        where (backtest.ticker, backtest.trained_on, backtest.architecture_sha256, backtest.recipe_sha256, backtest.data_sha256)
              = (checkpoint.ticker, checkpoint.trained_on, checkpoint.architecture_sha256, checkpoint.recipe_sha256,
                 checkpoint.data_sha256)
        order by plan_sha256 = %(plan)s desc, backtest_id desc
        limit 1) as tested on true
    left join backtest_prediction using (backtest_id)
    where ticker = any(%(tickers)s::text[]) and status = 'active'
    order by ticker, session, fold desc
) to stdout (format csv, header);
