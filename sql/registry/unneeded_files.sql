-- Of files on the disk, those that belong to checkpoints and that none of them needs: their rows say that they were
-- removed, or are about to; or a candidate was promoted and has a copy of its own since.
with known as (
    select checkpoint_id, ticker, version, trained_on, status as was, file_name,
           file_removed_at is null and checkpoint_id <> all(%(going)s::bigint[]) as is_needed
    from checkpoint
    union all
    select checkpoint_id, ticker, version, trained_on, 'promoted',
           %(candidate_folder)s || '/' || ticker || '_' || left(file_sha256, %(num_digits)s) || '.pt', false
    from checkpoint
    where status <> 'candidate'
), found as (
    select known.*, num_bytes, bool_or(is_needed) over (partition by file_name) as is_needed_by_any
    from known
    join unnest(%(file_names)s::text[], %(sizes)s::bigint[]) as present (file_name, num_bytes) using (file_name)
)
select distinct on (file_name) file_name, num_bytes, ticker, version, trained_on, was
from found
where not is_needed_by_any and (%(tickers)s::text[] is null or ticker = any(%(tickers)s::text[]))
order by file_name, checkpoint_id desc;
