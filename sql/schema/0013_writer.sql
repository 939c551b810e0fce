-- The rights of the role that runs LDTM, with the tables that came since.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- One list for whoever gives the rights and for whoever looks whether they are there. Reading is for all tables.
create function rights_to_write() returns table (relation name, privilege text, columns name[])
language sql immutable as $$
    select unnest(array[
        'bar', 'split', 'quarantined_bar', 'input_window', 'checkpoint', 'backtest', 'backtest_fold',
        'backtest_prediction', 'training_failure', 'gate_verdict', 'registry_order', 'snapshot', 'shadow_forecast',
        'overdue_fill', 'voided_fill', 'restated_actual', 'restatement_scan', 'ledger_seal', 'trading_session'
    ])::name, 'insert', null::name[]
    union all values
    ('quarantined_bar'::name, 'update', array['last_seen_at', 'resolved_at']::name[]),
    ('training_failure', 'update', array['reason', 'failed_at']),
    ('checkpoint', 'update',
     array['status', 'file_name', 'major', 'version', 'activated_at', 'retired_at', 'file_removed_at']),
    ('snapshot', 'update', array['next_day_actual', 'next_monday_actual', 'one_month_actual']),
    ('trading_session', 'update', array['opens_at', 'closes_at']),
    ('trading_session', 'delete', null)
$$;

comment on function rights_to_write is 'What LDTM writes: a table, a privilege, and of which columns where it is not of all.';

create or replace function allow_to_write(writer name) returns void language plpgsql set search_path from current as $$
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

revoke all on function allow_to_write(name) from public;

-- Who was given the rights of before gets those of now, as every step must do that brings a table. These are the roles
-- that were named themselves; whoever is a member of one has its rights anyway.
do $$
begin
    perform allow_to_write(r.rolname)
    from pg_class c
    cross join lateral (select distinct grantee from aclexplode(c.relacl) where privilege_type = 'INSERT') given
    join pg_roles r on r.oid = given.grantee
    where c.oid = 'snapshot'::regclass and not r.rolsuper and r.oid <> c.relowner;
end $$;
