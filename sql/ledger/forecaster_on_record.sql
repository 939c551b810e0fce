select ticker, checkpoint_id, status, version, trained_on, file_name, file_sha256,
       trained_on <= %(trained_until)s as in_time
from checkpoint
where checkpoint_id = %(checkpoint_id)s;
