-- Privileges of the writer role, which runs LDTM: it can add to the record and cannot change it. Triggers enforce the
-- rules of the record; a role with these privileges cannot disable a trigger.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create function writer_privileges() returns table (relation name, privilege text, columns name[])
language sql immutable as $$
    select unnest(array[
        'bar', 'split', 'quarantined_bar', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'lifecycle_action', 'service_entry', 'simulation',
        'simulation_model', 'snapshot', 'shadow_forecast', 'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session',
        'daily_attempt', 'notification', 'notification_delivery', 'alert'
    ])::name, 'insert', null::name[]
    union all
    select unnest(array[
        'daily_attempt', 'notification', 'notification_delivery', 'alert', 'quarantined_bar', 'trading_session'
    ])::name, 'delete', null::name[]
    union all
    select unnest(array['daily_attempt', 'notification_delivery', 'alert'])::name, 'update', null::name[]
    union all values
    ('quarantined_bar'::name, 'update', array['last_seen_at', 'resolved_at']::name[]),
    ('training_failure', 'update', array['reason', 'failed_at']),
    ('checkpoint', 'update',
     array['status', 'file_name', 'major', 'version', 'activated_at', 'retired_at', 'file_removed_at']),
    ('snapshot', 'update', array['next_day_actual', 'next_monday_actual', 'one_month_actual']),
    ('trading_session', 'update', array['opens_at', 'closes_at'])
$$;

comment on function writer_privileges is 'Privileges of the writer role: table, privilege, and columns; NULL for all columns.';

create function grant_writer_privileges(writer name) returns void language plpgsql set search_path from current as $$
declare
    needed record;
begin
    execute format('grant usage on schema %I to %I', current_schema(), writer);
    execute format('grant select on all tables in schema %I to %I', current_schema(), writer);
    execute format('grant usage on all sequences in schema %I to %I', current_schema(), writer);
    for needed in
        select relation, privilege,
               (select '(' || string_agg(quote_ident(name), ', ') || ')' from unnest(columns) name) as part
        from writer_privileges()
    loop
        execute format('grant %s %s on %I to %I', needed.privilege, needed.part, needed.relation, writer);
    end loop;
end $$;

comment on function grant_writer_privileges is
    'Grants a role the privileges that LDTM needs: it may add to the record and fill an actual once.';

-- A later migration that adds a table replaces writer_privileges() and then calls this function, which grants the new
-- privileges to every writer role. Writer roles are those with an explicit grant; their members inherit it.
create function renew_writer_privileges() returns void language plpgsql set search_path from current as $$
begin
    perform grant_writer_privileges(r.rolname)
    from pg_class c
    cross join lateral (select distinct grantee from aclexplode(c.relacl) where privilege_type = 'INSERT') given
    join pg_roles r on r.oid = given.grantee
    where c.oid = 'snapshot'::regclass and not r.rolsuper and r.oid <> c.relowner;
end $$;

revoke all on function renew_writer_privileges() from public;

-- Grants a role all privileges on the schema of Dagster's storage.
create function grant_storage_privileges(work_schema name, worker name) returns void language plpgsql as $$
begin
    execute format('grant usage, create on schema %I to %I', work_schema, worker);
    execute format('grant all on all tables in schema %I to %I', work_schema, worker);
    execute format('grant all on all sequences in schema %I to %I', work_schema, worker);
    execute format('alter default privileges in schema %I grant all on tables to %I', work_schema, worker);
    execute format('alter default privileges in schema %I grant all on sequences to %I', work_schema, worker);
end $$;

revoke all on function grant_writer_privileges(name) from public;
revoke all on function grant_storage_privileges(name, name) from public;
