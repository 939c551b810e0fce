create table if not exists schema_migration (
    file_name  text        primary key,
    sha256     text        not null,
    applied_at timestamptz not null default clock_timestamp()
);
