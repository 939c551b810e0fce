update quarantined_bar set resolved_at = clock_timestamp() where quarantined_id = any(%(ids)s::bigint[]);
