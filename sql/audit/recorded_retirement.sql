select version, retired_at from checkpoint where checkpoint_id = %(checkpoint_id)s and retired_at is not null;
