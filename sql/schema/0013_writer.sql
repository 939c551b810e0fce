-- The rights of the role that runs LDTM, with the tables that came since.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create or replace function allow_to_write(writer name) returns void language plpgsql set search_path from current as $$
declare
    writable text;
begin
    execute format('grant usage on schema %I to %I', current_schema(), writer);
    execute format('grant select on all tables in schema %I to %I', current_schema(), writer);
    execute format('grant usage on all sequences in schema %I to %I', current_schema(), writer);
    foreach writable in array array[
        'bar', 'split', 'quarantined_bar', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'registry_order', 'snapshot', 'shadow_forecast',
        'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session'
    ] loop
        execute format('grant insert on %I to %I', writable, writer);
    end loop;
    execute format('grant update (last_seen_at, resolved_at) on quarantined_bar to %I', writer);
    execute format('grant update (reason, failed_at) on training_failure to %I', writer);
    execute format('grant update (status, file_name, major, version, activated_at, retired_at, file_removed_at) on checkpoint to %I',
                   writer);
    execute format('grant update (next_day_actual, next_monday_actual, one_month_actual) on snapshot to %I', writer);
    execute format('grant update (opens_at, closes_at), delete on trading_session to %I', writer);
end $$;

revoke all on function allow_to_write(name) from public;
