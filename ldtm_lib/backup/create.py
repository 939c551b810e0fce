"""Creation of an archive: one state of the database, and the files that belong to that state.

The length of the published seals is read before the state is taken: a seal is recorded before it is published, so the
state has every one of them. Checkpoint files that the state may name are copied while none of them can be removed; then
the dump reads the same state, however long it takes. Trainings and daily runs continue.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from ldtm_lib.audit.publications.configured import TIME_STAMPS
from ldtm_lib.audit.publications.seal_file import seal_file_of
from ldtm_lib.backup.archive import ArchiveWriter, new_archive
from ldtm_lib.backup.dump import dumped
from ldtm_lib.backup.manifest import (
    CHECKPOINTS,
    CONFIGURATION,
    DATABASE_JSON,
    DUMP,
    NAMES,
    SEALS,
    TIMESTAMPS,
    Manifest,
    SealName,
)
from ldtm_lib.backup.postgresql_programs import PostgresqlPrograms, newest_programs
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.identity import FILE, installation_id
from ldtm_lib.database.privileges import schema_exists
from ldtm_lib.database.queries import query
from ldtm_lib.errors import BackupFailed
from ldtm_lib.project import Project

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """The contents of a new archive."""

    path: Path
    num_bytes: int
    num_dump_bytes: int
    manifest: Manifest

    @property
    def num_checkpoints(self) -> int:
        """Checkpoint files in the archive."""
        return sum(member.name.startswith(CHECKPOINTS) for member in self.manifest.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Publications:
    """The published seals at a moment: the file up to its last whole line, and the tokens."""

    seal_file: Path
    num_bytes: int
    tokens: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One state of the record, which a transaction keeps readable for pg_dump."""

    snapshot: str
    checkpoint_files: tuple[tuple[str, str], ...]
    """Names and SHA-256."""
    manifest: Manifest
    """Without members."""


def create_backup(
    project: Project,
    target: Path,
    *,
    ldtm_version: str,
    now: datetime,
    environ: Mapping[str, str],
    with_dagster: bool = True,
) -> BackupReport:
    """Write an archive of an installation under a name that is not taken; a backup that fails leaves nothing there.

    Raises BackupFailed, ConfigurationError if pg_dump is older than the server, DatabaseUnavailable, and OSError
    when the disk is full.
    """
    with new_archive(target, now) as archive, project.database.connect() as conn:
        major = conn.info.server_version // 10_000
        programs = newest_programs(environ, at_least=major, of=f"PostgreSQL {_version(conn)} at {project.address}")
        publications = _publications(project)
        _add_files(archive, project, publications)
        with project.database.transaction() as holder:
            holder.execute(query("registry.hold_files"))
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            conn.read_only = True
            state = _state(conn, project, programs, ldtm_version=ldtm_version, now=now, with_dagster=with_dagster)
            missing = _add_checkpoints(archive, project.checkpoint_folder, state.checkpoint_files)
        schemas = [project.database.schema, *([state.manifest.dagster_schema] if state.manifest.has_dagster else [])]
        num_dump_bytes = archive.stream(
            DUMP, dumped(project.database.url, schemas, snapshot=state.snapshot, programs=programs, environ=environ)
        )
        conn.rollback()
        manifest = state.manifest.model_copy(
            update={"members": tuple(archive.members), "missing_checkpoints": tuple(missing)}
        )
        archive.finish(manifest)
    return BackupReport(path=target, num_bytes=target.stat().st_size, num_dump_bytes=num_dump_bytes, manifest=manifest)


def _state(
    conn: Connection,
    project: Project,
    programs: PostgresqlPrograms,
    *,
    ldtm_version: str,
    now: datetime,
    with_dagster: bool,
) -> _State:
    """Read the state that the transaction of a connection sees, and export it."""
    conn.execute(query("backup.begin_snapshot"))
    identity = installation_id(conn)
    if identity is None:
        raise BackupFailed(
            f"schema {project.database.schema} at {project.address} holds no record yet; `ldtm db migrate` applies the "
            "schema, `ldtm bootstrap` begins a record"
        )
    (snapshot,) = conn.execute(query("backup.export_snapshot")).fetchone() or ("",)
    num_events, num_forecasts, num_bars = conn.execute(query("backup.extent")).fetchone() or (0, 0, 0)
    seals = [SealName(seal_id=n, session=day, sha256=sha256) for n, day, sha256 in conn.execute(query("backup.seals"))]
    dagster_schema = project.settings.database.dagster_schema
    return _State(
        snapshot=snapshot,
        checkpoint_files=tuple(conn.execute(query("backup.checkpoint_files")).fetchall()),
        manifest=Manifest(
            ldtm_version=ldtm_version,
            created_at=now,
            installation_id=identity,
            config=project.settings.path.name,
            schema_name=project.database.schema,
            dagster_schema=dagster_schema,
            has_dagster=with_dagster and schema_exists(conn, dagster_schema),
            postgresql_version=_version(conn),
            pg_dump_version=programs.version,
            migrations=dict(conn.execute(query("database.applied_migrations")).fetchall()),
            num_events=num_events,
            num_forecasts=num_forecasts,
            num_bars=num_bars,
            seals=tuple(seals),
            newest_seal=seals[-1] if seals else None,
            missing_checkpoints=(),
            members=(),
        ),
    )


def _publications(project: Project) -> _Publications:
    """Find the published seals and the length of their file, before the state of the database is taken."""
    path = seal_file_of(project.settings, project.home).path
    tokens = sorted(path for path in (project.home / TIME_STAMPS).glob("*.tsr") if _is_member(TIMESTAMPS + path.name))
    return _Publications(seal_file=path, num_bytes=_end_of_last_line(path), tokens=tuple(tokens))


def _add_files(archive: ArchiveWriter, project: Project, publications: _Publications) -> None:
    archive.add(CONFIGURATION, project.settings.path.read_bytes())
    if (project.home / FILE).exists():
        archive.add(DATABASE_JSON, (project.home / FILE).read_bytes())
    if publications.seal_file.exists():
        archive.stream(SEALS, _first_bytes(publications.seal_file, publications.num_bytes))
    for path in publications.tokens:
        archive.add(TIMESTAMPS + path.name, path.read_bytes())


def _add_checkpoints(archive: ArchiveWriter, folder: Path, files: Sequence[tuple[str, str]]) -> list[str]:
    """Add the files that the record names; returns the names of those that are missing or altered."""
    missing: list[str] = []
    for file_name, sha256 in files:
        content = _content(folder / file_name) if _is_member(CHECKPOINTS + file_name) else None
        if content is not None and hashlib.sha256(content).hexdigest() == sha256:
            archive.add(CHECKPOINTS + file_name, content)
        else:
            missing.append(file_name)
    return missing


def _content(path: Path) -> bytes | None:
    """The content of a checkpoint file; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_member(name: str) -> bool:
    return NAMES.fullmatch(name) is not None


def _first_bytes(path: Path, num_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while num_bytes:
            block = file.read(min(BLOCK_BYTES, num_bytes))
            if not block:
                raise BackupFailed(f"{path} became shorter during the backup; nothing was written, try again")
            yield block
            num_bytes -= len(block)


def _end_of_last_line(path: Path) -> int:
    """The bytes of a file up to its last newline; a line after it is being written, or was truncated by a crash."""
    try:
        with path.open("rb") as file:
            at = file.seek(0, os.SEEK_END)
            while at:
                start = max(at - BLOCK_BYTES, 0)
                file.seek(start)
                end = file.read(at - start).rfind(b"\n")
                if end >= 0:
                    return start + end + 1
                at = start
    except FileNotFoundError:
        return 0
    return 0


def _version(conn: Connection) -> str:
    """The version of the server, such as 15.18."""
    major, minor = divmod(conn.info.server_version, 10_000)
    return f"{major}.{minor}"
