insert into checkpoint (
    ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name, file_sha256, seed,
    num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device)
select * from unnest(
    %(tickers)s::text[], %(trained_on)s::date[], %(architectures)s::text[], %(recipes)s::text[], %(data)s::text[],
    %(file_names)s::text[], %(file_sha256s)s::text[], %(seeds)s::bigint[],
    %(num_training_rows)s::integer[], %(num_validation_rows)s::integer[], %(num_epochs)s::integer[],
    %(best_epochs)s::integer[], %(validation_losses)s::double precision[], %(durations)s::double precision[],
    %(devices)s::text[])
on conflict do nothing;
