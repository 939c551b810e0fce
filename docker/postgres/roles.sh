#!/bin/sh
# Runs once, on an empty volume: creates the owner of the tables, the writer that everything but the migration runs as, the
# reader of the dashboard, and their database. The passwords never appear in a command line.
set -eu
psql -v ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner LDTM_OWNER_PASSWORD
\getenv writer LDTM_WRITER_PASSWORD
\getenv reader LDTM_READER_PASSWORD
create role ldtm_owner login password :'owner';
create role ldtm_writer login password :'writer';
create role ldtm_reader login password :'reader';
grant ldtm_writer to ldtm_owner;     -- for tables of Dagster that an earlier version let the writer create
create database ldtm owner ldtm_owner;
revoke all on database ldtm from public;
grant connect on database ldtm to ldtm_writer, ldtm_reader;
SQL
