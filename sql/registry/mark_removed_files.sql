update checkpoint set file_removed_at = clock_timestamp()
where checkpoint_id = any(%(checkpoint_ids)s::bigint[]) and file_removed_at is null;
