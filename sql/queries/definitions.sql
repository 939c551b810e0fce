-- name: read
-- Functions, triggers, constraints, columns and views of the schema of the connection, as PostgreSQL states them. The
-- name of the schema occurs only in settings of functions, since the schema is on the search path.
select 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as name,
       concat_ws('|', l.lanname, p.prosecdef, p.provolatile, p.prokind,
                 replace(p.proconfig::text, quote_ident(current_schema()), '$schema'),
                 p.prosrc, pg_get_function_sqlbody(p.oid)) as definition
from pg_proc p
join pg_language l on l.oid = p.prolang
where p.pronamespace = current_schema()::regnamespace
union all
select 'trigger ' || t.tgname || ' of ' || c.relname, pg_get_triggerdef(t.oid, true)
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
where c.relnamespace = current_schema()::regnamespace and not t.tgisinternal
union all
select 'constraint ' || k.conname || ' of ' || coalesce(c.relname, t.typname),
       pg_get_constraintdef(k.oid) || ' ' || k.convalidated
from pg_constraint k
left join pg_class c on c.oid = k.conrelid
left join pg_type t on t.oid = k.contypid
where k.connamespace = current_schema()::regnamespace and k.contype <> 'n'
union all
select 'column ' || a.attname || ' of ' || c.relname,
       concat_ws('|', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
                 a.attgenerated, a.attidentity)
from pg_attribute a
join pg_class c on c.oid = a.attrelid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v') and a.attnum > 0
  and not a.attisdropped
union all
select 'view ' || relname, pg_get_viewdef(oid)
from pg_class
where relnamespace = current_schema()::regnamespace and relkind in ('v', 'm');
