insert into alert (evening, severity, title, body)
select * from unnest(%(evenings)s::date[], %(severities)s::text[], %(titles)s::text[], %(bodies)s::text[])
returning alert_id, evening;
