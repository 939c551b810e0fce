insert into backtest_fold (
    backtest_id, fold, train_cutoff, first_test_session, last_test_session,
    num_training_rows, num_validation_rows, num_leakage_rows, num_epochs, validation_loss)
select * from unnest(
    %(backtest_ids)s::bigint[], %(folds)s::integer[], %(train_cutoffs)s::date[],
    %(first_test_sessions)s::date[], %(last_test_sessions)s::date[],
    %(num_training_rows)s::integer[], %(num_validation_rows)s::integer[], %(num_leakage_rows)s::integer[],
    %(num_epochs)s::integer[], %(validation_losses)s::double precision[]);
