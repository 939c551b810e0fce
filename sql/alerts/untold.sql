-- What nobody has heard of: troubles that are there, and ends of those that were told. What ended before it was told
-- is no news to anybody. Locked in one order for all, so that of two who look at once the second finds nothing left.
select trouble_id, kind, severity, evening, subject, summary, link, ended_at is not null as is_over,
       extract(epoch from clock_timestamp() - coalesce(ended_at, noticed_at))::float8 as age_seconds
from trouble
where (told_at is null and ended_at is null) or (told_at is not null and ended_at is not null and end_told_at is null)
order by key
for update;
