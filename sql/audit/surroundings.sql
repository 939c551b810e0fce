-- What in the schema could make a statement about it see something else than what is there: each line a sentence's end.
with chained as (
    select c.oid, c.relname, c.relkind, c.relrowsecurity, c.relhasrules
    from unnest(array['snapshot', 'checkpoint', 'voided_fill', 'restated_actual', 'ledger_event', 'ledger_seal',
                      'trading_session']) as t (name)
    join pg_catalog.pg_class c on c.relname::text = t.name and c.relnamespace = current_schema()::regnamespace)
select finding
from (
    select 1 as place, relname || ' is no plain table' as finding from chained where relkind::text <> 'r'
    union all
    select 2, 'row security hides rows of ' || relname from chained where relrowsecurity
    union all
    select 3, 'rules rewrite what is asked of ' || relname from chained where relhasrules
    union all
    select 4, relname || ' has lost its primary key' from chained
    where relkind::text = 'r' and not exists (
        select from pg_catalog.pg_index i where i.indrelid = chained.oid and i.indisprimary and i.indisvalid)
    union all
    select 5, 'the column ' || a.attname || ' of ' || relname || ' has a type of the schema''s own'
    from chained
    join pg_catalog.pg_attribute a on a.attrelid = chained.oid and a.attnum > 0 and not a.attisdropped
    join pg_catalog.pg_type t on t.oid = a.atttypid
    where t.typnamespace <> 'pg_catalog'::regnamespace
      and not (t.typname::text = 'horizon' and t.typtype::text = 'd' and t.typbasetype = 'text'::regtype)
    union all
    select 6, 'the trigger ' || t.tgname || ' of ' || relname || ' is switched off'
    from chained join pg_catalog.pg_trigger t on t.tgrelid = chained.oid
    where t.tgenabled::text = 'D'
    union all
    select 7, 'the operator ' || oprname || ' is one of the schema''s own'
    from pg_catalog.pg_operator where oprnamespace = current_schema()::regnamespace
    union all
    select 8, 'the function ' || f.proname || ' stands in for one of PostgreSQL''s'
    from pg_catalog.pg_proc f
    where f.pronamespace = current_schema()::regnamespace
      and exists (select from pg_catalog.pg_proc own
                  where own.pronamespace = 'pg_catalog'::regnamespace and own.proname = f.proname)
) surroundings
order by place, finding;
