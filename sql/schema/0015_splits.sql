-- A split that the stored bars have had all along, and that becomes known later, is dated by the first of them.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Such a date makes nothing of the past another value: no forecast is from before the ticker's first bar, so that the split
-- restates none. Any other split is dated by the transaction that records it, as bars are.
create function split_is_recorded_now() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select from added
               where recorded_at > clock_timestamp() + interval '5 minutes'
                  or (recorded_at < transaction_timestamp()
                      and recorded_at is distinct from (select min(bar.recorded_at) from bar where bar.ticker = added.ticker))) then
        raise exception 'rows of % are dated by the moment they are recorded at, or by the first bar of their ticker',
            tg_table_name using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

drop trigger split_is_recorded_now on split;
create trigger split_is_recorded_now after insert on split
referencing new table as added for each statement execute function split_is_recorded_now();
alter table split enable always trigger split_is_recorded_now;
