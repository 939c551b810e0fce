-- A role that reads the record and Dagster's state of operation, and changes nothing: the dashboard connects as such a role.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The rows of a run date, and of a range of run dates: the primary key begins with the ticker.
create index snapshot_by_run_date on snapshot (simulation_id, run_date);

create function require_reader(reader name) returns void language plpgsql stable set search_path from current as $$
declare
    refused text := (
        select case when r.rolsuper then 'is a superuser'
                    when r.rolcreaterole then 'may create roles'
                    when pg_has_role(r.oid, c.relowner, 'member') then 'owns snapshot, or is a member of its owner'
                    when has_any_column_privilege(r.oid, c.oid, 'insert, update')
                         or has_table_privilege(r.oid, c.oid, 'delete, truncate, trigger') then 'may write into snapshot' end
        from pg_roles r, pg_class c where r.rolname = reader and c.oid = 'snapshot'::regclass);
begin
    if refused is not null then
        raise exception 'role % % and cannot become a role that only reads: create another one', reader, refused
            using errcode = 'integrity_constraint_violation';
    end if;
end $$;

-- Takes what a role has beyond reading, and lets it read the tables that are there and those that the owner creates later.
create function grant_reader_privileges(reader name) returns void language plpgsql set search_path from current as $$
begin
    perform require_reader(reader);
    execute format('revoke all on all tables in schema %I from %I', current_schema(), reader);
    execute format('revoke all on all sequences in schema %I from %I', current_schema(), reader);
    execute format('revoke all on schema %I from %I', current_schema(), reader);
    execute format('grant usage on schema %I to %I', current_schema(), reader);
    execute format('grant select on all tables in schema %I to %I', current_schema(), reader);
    execute format('alter default privileges in schema %I grant select on tables to %I', current_schema(), reader);
end $$;

comment on function grant_reader_privileges is 'Lets a role read the tables of the schema and do nothing else.';

-- Of Dagster's storage a reader sees runs, ticks, heartbeats, pools and results of checks. Logs of runs, which hold whatever a run printed,
-- stay closed to it.
create function grant_storage_reading(work_schema name, reader name) returns void
language plpgsql set search_path from current as $$
declare
    relation regclass;
begin
    perform require_reader(reader);
    execute format('revoke all on all tables in schema %I from %I', work_schema, reader);
    execute format('revoke all on all sequences in schema %I from %I', work_schema, reader);
    execute format('revoke all on schema %I from %I', work_schema, reader);
    execute format('grant usage on schema %I to %I', work_schema, reader);
    for relation in
        select c.oid::regclass
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = work_schema and c.relkind in ('r', 'p')
          and c.relname in ('runs', 'daemon_heartbeats', 'instigators', 'job_ticks', 'kvs', 'concurrency_limits',
                            'concurrency_slots', 'pending_steps', 'asset_check_executions')
    loop
        execute format('grant select on %s to %I', relation, reader);
    end loop;
end $$;

revoke all on function grant_reader_privileges(name), grant_storage_reading(name, name), require_reader(name) from public;
