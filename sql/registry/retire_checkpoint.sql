update checkpoint set status = 'retired', retired_at = clock_timestamp()
where checkpoint_id = %(checkpoint_id)s and status = 'active';
