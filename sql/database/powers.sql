-- What the connected role could do to the record past its rules, most powerful first; nothing for a role without rights.
with role as (select rolsuper from pg_roles where rolname = current_user),
     chained as (
         select c.oid, c.relname, c.relowner
         from unnest(array['snapshot', 'ledger_event', 'ledger_seal', 'voided_fill', 'restated_actual', 'checkpoint', 'bar',
                           'backtest', 'backtest_fold', 'backtest_prediction', 'gate_verdict', 'registry_order',
                           'shadow_forecast']) as t (name)
         join pg_class c on c.relname = t.name and c.relnamespace = current_schema()::regnamespace)
select power
from (
    select 1 as place, 'is a superuser' as power from role where rolsuper
    union all
    select 2, 'owns ' || string_agg(relname, ', ' order by relname) || ', and so can switch their triggers off'
    from chained, role where not rolsuper and pg_has_role(current_user, relowner, 'member') having count(*) > 0
    union all
    select 3, 'may delete from, truncate or put triggers on ' || string_agg(relname, ', ' order by relname)
    from chained, role
    where not rolsuper and not pg_has_role(current_user, relowner, 'member')
      and has_table_privilege(current_user, oid, 'delete, truncate, trigger') having count(*) > 0
    union all
    select 4, 'may write into ledger_event' from chained, role
    where relname = 'ledger_event' and not rolsuper and not pg_has_role(current_user, relowner, 'member')
      and has_table_privilege(current_user, oid, 'insert, update')
    union all
    select 5, 'may change every column of snapshot' from chained, role
    where relname = 'snapshot' and not rolsuper and not pg_has_role(current_user, relowner, 'member')
      and has_column_privilege(current_user, oid, 'next_day_pred', 'update')
    union all
    select 6, 'may create objects in the schema' from role
    where not rolsuper and has_schema_privilege(current_user, current_schema(), 'create')
      and not exists (select from chained where pg_has_role(current_user, relowner, 'member'))
) powers
order by place;
