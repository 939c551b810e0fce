-- One row: whose runs, cursors and schedules this schema holds. Everybody may read it, as whoever comes next must.
create table ldtm_owner (
    schema   name    not null,
    only_one boolean primary key default true check (only_one)
);
grant select on ldtm_owner to public;
comment on table ldtm_owner is 'The schema of the one LDTM installation whose Dagster storage this is.';
