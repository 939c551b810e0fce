-- Nothing is recorded and nothing sealed at a moment that is not later than the newest seal. After a clock went back, events
-- would lie before the seal before them for good, and an honest record would look dated back.

-- Functions keep this search path. They find their tables from any connection, and pg_temp comes last, so that a
-- temporary table cannot shadow one of them.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Behind the lock no seal is made meanwhile.
create or replace function take_chain_lock() returns trigger language plpgsql set search_path from current as $$
declare
    newest timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended('ldtm chain ' || current_schema(), 0));
    select sealed_at into newest from ledger_seal order by seal_id desc limit 1;
    if clock_timestamp() <= newest then
        raise exception 'the clock of the database is wrong: it says %, and the newest seal is of %; correct the clock of '
                        'the server, or wait until it has passed the seal: nothing was recorded', clock_timestamp(), newest
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

-- A seal takes the lock in the same way, and is made only at a later moment than the newest one.
create trigger chain_lock_is_taken before insert on ledger_seal
for each statement execute function take_chain_lock();
alter table ledger_seal enable always trigger chain_lock_is_taken;
