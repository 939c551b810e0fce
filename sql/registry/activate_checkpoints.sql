update checkpoint
set status = 'active', activated_at = clock_timestamp(),
    major = promoted.major, version = promoted.version, file_name = promoted.file_name
from unnest(%(checkpoint_ids)s::bigint[], %(majors)s::integer[], %(versions)s::text[], %(file_names)s::text[])
    as promoted (checkpoint_id, major, version, file_name)
where checkpoint.checkpoint_id = promoted.checkpoint_id and checkpoint.status = 'candidate'
  and checkpoint.file_removed_at is null;
