-- The rights of a role that runs LDTM day by day: it can add to the record and change nothing that is in it. Triggers
-- refuse what must not be; these rights make sure that the role cannot switch a trigger off.

-- Functions keep this search path: they find their tables from any connection, and a temporary table of the same name,
-- which would otherwise be found first, cannot stand in for one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create function rights_to_write() returns table (relation name, privilege text, columns name[])
language sql immutable as $$
    select unnest(array[
        'bar', 'split', 'quarantined_bar', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'registry_order', 'snapshot', 'shadow_forecast',
        'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session',
        'evening_attempt', 'alert', 'alert_delivery', 'trouble'
    ])::name, 'insert', null::name[]
    union all
    select unnest(array[
        'evening_attempt', 'alert', 'alert_delivery', 'trouble', 'quarantined_bar', 'trading_session'
    ])::name, 'delete', null::name[]
    union all
    select unnest(array['evening_attempt', 'alert_delivery', 'trouble'])::name, 'update', null::name[]
    union all values
    ('quarantined_bar'::name, 'update', array['last_seen_at', 'resolved_at']::name[]),
    ('training_failure', 'update', array['reason', 'failed_at']),
    ('checkpoint', 'update',
     array['status', 'file_name', 'major', 'version', 'activated_at', 'retired_at', 'file_removed_at']),
    ('snapshot', 'update', array['next_day_actual', 'next_monday_actual', 'one_month_actual']),
    ('trading_session', 'update', array['opens_at', 'closes_at'])
$$;

comment on function rights_to_write is 'What LDTM writes: a table, a privilege, and of which columns where it is not of all.';

create function allow_to_write(writer name) returns void language plpgsql set search_path from current as $$
declare
    needed record;
begin
    execute format('grant usage on schema %I to %I', current_schema(), writer);
    execute format('grant select on all tables in schema %I to %I', current_schema(), writer);
    execute format('grant usage on all sequences in schema %I to %I', current_schema(), writer);
    for needed in
        select relation, privilege,
               (select '(' || string_agg(quote_ident(name), ', ') || ')' from unnest(columns) name) as part
        from rights_to_write()
    loop
        execute format('grant %s %s on %I to %I', needed.privilege, needed.part, needed.relation, writer);
    end loop;
end $$;

comment on function allow_to_write is
    'Gives a role what LDTM needs to run: it may add to the record, fill an actual once, and nothing else.';

-- A later migration that brings a table replaces rights_to_write() and then calls this: roles that could write before get
-- the rights on what is new. These are the roles that were named themselves; a member of one has its rights anyway.
create function renew_rights() returns void language plpgsql set search_path from current as $$
begin
    perform allow_to_write(r.rolname)
    from pg_class c
    cross join lateral (select distinct grantee from aclexplode(c.relacl) where privilege_type = 'INSERT') given
    join pg_roles r on r.oid = given.grantee
    where c.oid = 'snapshot'::regclass and not r.rolsuper and r.oid <> c.relowner;
end $$;

revoke all on function renew_rights() from public;

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
