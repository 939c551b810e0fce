delete from trouble
where trouble_id in (
    select trouble_id
    from trouble
    where greatest(seen_at, noticed_at, told_at, ended_at, end_told_at) < %(before)s
    order by trouble_id
    limit %(limit)s);
