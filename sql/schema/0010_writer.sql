-- The rights of a role that runs LDTM day by day: it can add to the record and change nothing that is in it.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Triggers refuse what must not be; these rights make sure that the role cannot switch a trigger off.
create function allow_to_write(writer name) returns void language plpgsql set search_path from current as $$
declare
    writable text;
begin
    execute format('grant usage on schema %I to %I', current_schema(), writer);
    execute format('grant select on all tables in schema %I to %I', current_schema(), writer);
    execute format('grant usage on all sequences in schema %I to %I', current_schema(), writer);
    foreach writable in array array[
        'bar', 'split', 'quarantined_bar', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'snapshot', 'overdue_fill', 'voided_fill',
        'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session'
    ] loop
        execute format('grant insert on %I to %I', writable, writer);
    end loop;
    execute format('grant update (last_seen_at, resolved_at) on quarantined_bar to %I', writer);
    execute format('grant update (reason, failed_at) on training_failure to %I', writer);
    execute format('grant update (status, file_name, major, version, activated_at, retired_at) on checkpoint to %I', writer);
    execute format('grant update (next_day_actual, next_monday_actual, one_month_actual) on snapshot to %I', writer);
    execute format('grant update (opens_at, closes_at), delete on trading_session to %I', writer);
end $$;

-- Dagster's own storage in its schema: the same role works in it without limits.
create function allow_to_use(work_schema name, worker name) returns void language plpgsql as $$
begin
    execute format('grant usage, create on schema %I to %I', work_schema, worker);
    execute format('grant all on all tables in schema %I to %I', work_schema, worker);
    execute format('grant all on all sequences in schema %I to %I', work_schema, worker);
    execute format('alter default privileges in schema %I grant all on tables to %I', work_schema, worker);
    execute format('alter default privileges in schema %I grant all on sequences to %I', work_schema, worker);
end $$;

revoke all on function allow_to_write(name) from public;
revoke all on function allow_to_use(name, name) from public;

comment on function allow_to_write is
    'Gives a role what LDTM needs to run: it may add to the record, fill an actual once, and nothing else.';
