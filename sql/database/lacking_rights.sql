-- What LDTM does and the connected role may not, by what it is not allowed to do.
with needed as (
    select c.oid, c.relname, 'select' as privilege, null::name as part
    from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'v')
    union all
    select c.oid, c.relname, r.privilege, part.name
    from rights_to_write() r
    join pg_class c on c.relname = r.relation and c.relnamespace = current_schema()::regnamespace
    cross join lateral unnest(coalesce(r.columns, array[null::name])) part (name)
)
select format('may not %s %s', case privilege when 'select' then 'read' when 'insert' then 'add to'
                                              when 'update' then 'write into' else 'delete from' end,
              string_agg(distinct relname, ', ' order by relname))
from needed
where not case when part is null then has_table_privilege(current_user, oid, privilege)
               else has_column_privilege(current_user, oid, part, privilege) end
group by privilege
order by array_position(array['select', 'insert', 'update', 'delete'], privilege);
