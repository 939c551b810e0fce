insert into registry_order (ticker, action, checkpoint_id, ordered_by, why)
values (%(ticker)s, %(action)s, %(checkpoint_id)s, %(ordered_by)s, %(why)s);
