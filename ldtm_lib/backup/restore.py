"""Restore of an archive: files are added first, then one transaction replaces the schemas, then seals are put in place.

A kill at any moment leaves either the whole old record or the whole restored one; repeating the restore completes it.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

import psycopg
from psycopg import sql

from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.backup import loss
from ldtm_lib.backup.archive import Archive
from ldtm_lib.backup.dump import restore_dump
from ldtm_lib.backup.files import (
    add_checkpoints,
    missing_checkpoints,
    place_publications,
    require_writable_publications,
    write_new,
)
from ldtm_lib.backup.loss import Loss
from ldtm_lib.backup.manifest import CHECKPOINTS, CONFIGURATION, DUMP, Manifest
from ldtm_lib.backup.postgresql_programs import PostgresqlPrograms, newest_programs
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.identity import KnownDatabase, installation_id, remember_database
from ldtm_lib.database.migrate import migrations
from ldtm_lib.database.privileges import schema_exists
from ldtm_lib.database.queries import query
from ldtm_lib.errors import RestoreRefused
from ldtm_lib.maintenance.dagster_status import live_daemons
from ldtm_lib.maintenance.dagster_storage import storage_owner
from ldtm_lib.project import DATABASE_VARIABLE, Project

LOCK_SECONDS = 30
MAX_SCHEMA_NAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """The result of a restore."""

    manifest: Manifest
    loss: Loss
    """The accepted loss of parts of the earlier record."""
    replaced: bool
    """True if the database held the record before."""
    num_checkpoints: int
    num_added_checkpoints: int
    set_aside: tuple[Path, ...]
    """Published seals of the newer record, under their new names."""
    kept_schemas: tuple[str, ...]
    """Schemas of the newer record, under their new names."""
    writers: tuple[str, ...]
    """Roles that could add to the record that was saved."""
    pending_migrations: tuple[str, ...]
    wrote_config: bool
    config_differs: bool
    """True if the project has a configuration that is not the one of the archive."""


def restore(
    archive: Archive, project: Project, *, accept_loss: bool, now: datetime, environ: Mapping[str, str]
) -> RestoreReport:
    """Restore a verified archive into its target, which `restore_target` opens.

    Raises RestoreRefused, and leaves the database as it was, if it holds another record, is in use, is older than the
    dumped one, or if the restore would lose anything whose loss was not accepted.
    """
    manifest = archive.manifest
    with project.database.connect() as conn, _database_errors(project):
        programs = _programs(conn, project, manifest, environ)
        replaced = _require_same_record(conn, project, manifest)
        _require_no_daemons(conn, project)
        published = loss.published_loss(manifest, publications_of(project.settings, project.home))
        recorded = loss.expected_loss(manifest, conn) if replaced else Loss()
        conn.rollback()
        loss.require_accepted(loss.together(published, recorded), manifest, accept_loss=accept_loss)
        require_writable_publications(project)
        num_added = add_checkpoints(
            archive, project.checkpoint_folder, missing_checkpoints(archive, project.checkpoint_folder)
        )
        recorded, kept, writers = _replace_schemas(
            conn, archive, project, programs, published, replaced=replaced, accept_loss=accept_loss, now=now
        )
    aside = place_publications(archive, project, now)
    remember_database(project.home, KnownDatabase(installation_id=manifest.installation_id, address=project.address))
    path = project.settings.path
    wrote_config = not path.exists()
    if wrote_config:
        write_new(path, archive.content(CONFIGURATION))
    _analyze(project)
    return RestoreReport(
        manifest=manifest,
        loss=loss.together(published, recorded),
        replaced=replaced,
        num_checkpoints=len(archive.below(CHECKPOINTS)),
        num_added_checkpoints=num_added,
        set_aside=tuple(aside),
        kept_schemas=tuple(kept),
        writers=tuple(writers),
        pending_migrations=tuple(step.name for step in migrations() if step.name not in manifest.migrations),
        wrote_config=wrote_config,
        config_differs=path.read_bytes() != archive.content(CONFIGURATION),
    )


def _programs(conn: Connection, project: Project, manifest: Manifest, environ: Mapping[str, str]) -> PostgresqlPrograms:
    """The programs that read the dump. Raises RestoreRefused if the server is older than the dumped one."""
    server_major = conn.info.server_version // 10_000
    if server_major < manifest.server_major:
        raise RestoreRefused(
            f"the archive is of PostgreSQL {manifest.postgresql_version}, and {project.address} is PostgreSQL "
            f"{server_major}; restore into PostgreSQL {manifest.server_major} or newer. Nothing was changed"
        )
    return newest_programs(
        environ, at_least=manifest.pg_dump_major, of=f"the dump, which pg_dump {manifest.pg_dump_version} wrote,"
    )


def _require_same_record(conn: Connection, project: Project, manifest: Manifest) -> bool:
    """True if the database holds the record of an archive; raises RestoreRefused if it holds anything else."""
    there = installation_id(conn)
    if there is not None and there != manifest.installation_id:
        raise RestoreRefused(
            f"schema {project.database.schema} at {project.address} holds the record {there}, and the archive the "
            f"record {manifest.installation_id}; restore it into another database. Nothing was changed"
        )
    schemas = [project.database.schema] if there is None else []
    owner = storage_owner(project.dagster_database)
    is_own = owner == project.database.schema or (owner is None and there is not None)
    if manifest.has_dagster and not is_own:
        schemas.append(project.dagster_database.schema)
    for schema in schemas:
        if conn.execute(query("backup.has_objects"), {"schema": schema}).fetchone() == (True,):
            raise RestoreRefused(
                f"schema {schema} at {project.address} holds tables or functions that are not of this record, or "
                "that the role may not read; restore into another database, or remove that schema. Nothing was changed"
            )
    return there is not None


def _require_no_daemons(conn: Connection, project: Project) -> None:
    """Raise RestoreRefused while a daemon of Dagster uses the database, on any machine."""
    schema = project.dagster_database.schema
    if conn.execute(query("backup.has_heartbeats"), {"schema": schema}).fetchone() != (True,):
        return
    with project.dagster_database.transaction() as storage:
        if live_daemons(storage):
            raise RestoreRefused(
                f"Dagster's daemon on the storage in schema {schema} at {project.address} sent a heartbeat within the "
                "last minute; stop it with `ldtm down`, or where it runs, and restore a minute later. Nothing was "
                "changed"
            )


def _replace_schemas(
    conn: Connection,
    archive: Archive,
    project: Project,
    programs: PostgresqlPrograms,
    published: Loss,
    *,
    replaced: bool,
    accept_loss: bool,
    now: datetime,
) -> tuple[Loss, list[str], list[str]]:
    """Replace the schemas in one transaction; returns the loss, the schemas that are kept, and the earlier writers.

    The earlier record is compared with the restored one event by event. If anything is lost, the earlier schemas are
    kept under other names: they are evidence.
    """
    manifest = archive.manifest
    schemas = [manifest.schema_name, *([manifest.dagster_schema] if manifest.has_dagster else [])]
    with conn.transaction():
        for schema in schemas:
            conn.execute(query("database.lock_schema"), {"schema": schema})
        conn.execute(query("backup.wait_for_writers"), {"milliseconds": str(int(LOCK_SECONDS * 1000))})
        if replaced:
            conn.execute(query("registry.lock_promotions"))
            conn.execute(query("registry.lock_candidate_files"))
            conn.execute(query("registry.lock_held_files"))
            conn.execute(query("registry.lock_chain"))
            conn.execute(query("backup.lock_record"))
            conn.execute(query("backup.keep_earlier_record"))
        moved = {schema: _free_name(conn, schema, now) for schema in schemas if schema_exists(conn, schema)}
        for schema, name in moved.items():
            _rename(conn, schema, name)
        writers = restore_dump(conn, lambda: archive.blocks(DUMP), programs)
        conn.execute(query("backup.use_schema"), {"schema": manifest.schema_name})
        _require_restored(conn, manifest)
        lost = loss.actual_loss(conn) if replaced else Loss()
        loss.require_accepted(loss.together(published, lost), manifest, accept_loss=accept_loss)
        is_kept = bool(published or lost)
        if not is_kept:
            for name in moved.values():
                conn.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))
        if conn.execute(query("backup.has_heartbeats"), {"schema": manifest.dagster_schema}).fetchone() == (True,):
            conn.execute(query("backup.use_schema"), {"schema": manifest.dagster_schema})
            conn.execute(query("backup.forget_heartbeats"))
    return lost, list(moved.values()) if is_kept else [], writers


def _rename(conn: Connection, schema: str, name: str) -> None:
    conn.execute(sql.SQL("alter schema {} rename to {}").format(sql.Identifier(schema), sql.Identifier(name)))


def _free_name(conn: Connection, schema: str, now: datetime) -> str:
    """An unused name for an earlier schema, such as ldtm_before_restore_20261130t101500."""
    moment = f"_before_restore_{now.astimezone(UTC):%Y%m%dt%H%M%S}"
    suffixes = chain([moment], (f"{moment}_{number}" for number in count(2)))
    names = (schema[: MAX_SCHEMA_NAME - len(suffix)] + suffix for suffix in suffixes)
    return next(name for name in names if not schema_exists(conn, name))


def _require_restored(conn: Connection, manifest: Manifest) -> None:
    """Raise RestoreRefused if the restored record is not the one that the manifest states."""
    num_events, num_forecasts, num_bars = conn.execute(query("backup.extent")).fetchone() or (0, 0, 0)
    seals = [(n, sha256) for n, _, sha256 in conn.execute(query("backup.seals"))]
    found = (installation_id(conn), num_events, num_forecasts, num_bars, seals)
    stated = (
        *(manifest.installation_id, manifest.num_events, manifest.num_forecasts, manifest.num_bars),
        [(seal.seal_id, seal.sha256) for seal in manifest.seals],
    )
    if found != stated:
        raise RestoreRefused(
            "the dump does not hold the record that its manifest states; use another backup. Nothing was changed"
        )


@contextmanager
def _database_errors(project: Project) -> Generator[None]:
    """Turn errors of the database into RestoreRefused with the remedy; their cause shows a full disk."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise RestoreRefused(
            f"the record at {project.address} was in use for {LOCK_SECONDS} s; stop what uses it, and restore again. "
            "The database was not changed"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise RestoreRefused(
            f"the role of {DATABASE_VARIABLE} may not replace the record at {project.address} ({_reason(error)}); "
            "restore as the owner of its schemas, with the right to create schemas in the database. The database was "
            "not changed"
        ) from error
    except psycopg.Error as error:
        raise RestoreRefused(
            f"{project.address} refused the dump: {_reason(error)}. The database was not changed"
        ) from error


def _reason(error: psycopg.Error) -> str:
    return " ".join(str(error).split())


def _analyze(project: Project) -> None:
    """Collect statistics, without which the first queries are slow."""
    with project.database.connect() as conn:
        conn.autocommit = True
        conn.execute(query("backup.analyze"))
