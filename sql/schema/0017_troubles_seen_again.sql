-- A trouble that is seen again is as bad as it is now, not as it was when it was noticed; what is read twice is told by
-- when it was seen last, and since when it is there stays on record beside that.

select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table trouble add column seen_at timestamptz;
update trouble set seen_at = noticed_at;
alter table trouble
    alter column seen_at set default clock_timestamp(),
    alter column seen_at set not null;

comment on table trouble is
    'What went wrong, or is news, which has no end. key: what makes it the same thing again; link: a path of the pages; noticed_at: since when it is there, or as bad, or of that evening, as whoever saw it tells; seen_at: when it was seen last; ended_at: it is well again.';
