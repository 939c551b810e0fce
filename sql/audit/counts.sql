-- How many events there are of each kind, and how many rows they should be about.
with counted as (
    select event, count(*) as num_events from ledger_event group by event
)
select event, coalesce(num_events, 0) as num_events, num_rows
from (
    select 'forecast' as event, count(*) as num_rows from snapshot
    union all
    select 'fill', coalesce(sum(pg_catalog.num_nonnulls(next_day_actual, next_monday_actual, one_month_actual)), 0)
    from snapshot
    union all select 'void', count(*) from voided_fill
    union all select 'restatement', count(*) from restated_actual
    union all select 'promotion', count(*) from checkpoint where status <> 'candidate'
    union all select 'retirement', count(*) from checkpoint where status = 'retired'
) subject
left join counted using (event);
