delete from quarantined_bar
where quarantined_id in (
    select quarantined_id
    from quarantined_bar
    where resolved_at < %(resolved_before)s or (resolved_at is null and last_seen_at < %(seen_before)s)
    order by quarantined_id
    limit %(limit)s);
