select version, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_sha256, activated_at
from checkpoint where checkpoint_id = %(checkpoint_id)s and activated_at is not null;
