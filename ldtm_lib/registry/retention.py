"""Retention of checkpoint files: those that are not needed any more are removed; their rows stay and record it.

A row is marked before its file is removed: from then on nobody reads the file, and a crash in between leaves a file
that the next call removes.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import psycopg
from psycopg.rows import class_row

from ldtm_lib.atomic_io import sync_folder
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.errors import DatabaseUnavailable, FileNotRemoved
from ldtm_lib.models.checkpoint import CANDIDATE_FOLDER, WRITTEN_NAME, file_of
from ldtm_lib.registry.checkpoints import SHA256_DIGITS_IN_NAME
from ldtm_lib.settings import RegistryConfig

AGAIN = "run `ldtm registry prune` again"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedFile:
    """One file that was removed, or would be in a dry run."""

    ticker: str
    file_name: str
    """Relative to the checkpoint folder."""
    num_bytes: int
    version: str | None
    """Version of the network; None for a candidate that was never promoted."""
    trained_on: date
    was: Literal["retired", "candidate", "promoted"]
    """State of the network of the file; `promoted`: a candidate that has since been copied under its version's name."""


def prune(
    database: Database,
    folder: Path,
    *,
    config: RegistryConfig,
    tickers: Sequence[str] | None = None,
    dry_run: bool = False,
) -> list[RemovedFile]:
    """Remove the files of old retired versions and old candidates, of all tickers or some; returns them.

    Per ticker the newest ones stay, as many as the settings say, and in any case the active one, the newest network,
    and every one that a forecast on record refers to. Only files that a row of the registry names are ever touched. A
    dry run changes nothing. Promotions, lifecycle actions and trainings wait meanwhile, and it waits for forecasts
    that are being made. A fixed number of statements. Raises FileNotRemoved if the disk or the database refuses; the
    next call continues from there.
    """
    with _errors_as_file_not_removed(folder):
        return _prune(database, folder, config, tickers, dry_run=dry_run)


def _prune(
    database: Database, folder: Path, config: RegistryConfig, tickers: Sequence[str] | None, *, dry_run: bool
) -> list[RemovedFile]:
    with database.transaction() as conn:
        _take_turn(conn)
        conn.execute(query("registry.lock_held_files"))
        conn.execute(query("registry.lock_chain"))
        removed_ids = _removable(conn, config, tickers)
        if dry_run:
            return _unneeded(conn, folder, tickers, removed_ids)
        conn.execute(query("registry.mark_removed_files"), {"checkpoint_ids": removed_ids})
    with database.transaction() as conn:
        _take_turn(conn)
        conn.execute(query("registry.lock_held_files"))
        unneeded = _unneeded(conn, folder, tickers, ())
        _remove(folder, unneeded)
    return unneeded


@contextmanager
def _errors_as_file_not_removed(folder: Path) -> Generator[None]:
    """Turn refusals of the database or the disk into FileNotRemoved."""
    try:
        yield
    except (psycopg.Error, DatabaseUnavailable) as error:
        raise FileNotRemoved(
            f"checkpoint files in {folder} that are not needed were not removed, as the database refused: "
            f"{' '.join(str(error).split())}; see `ldtm doctor` for the privileges of this role, and {AGAIN}"
        ) from error
    except OSError as error:
        raise FileNotRemoved(
            f"checkpoint files that are not needed were not removed: {error.filename or folder} cannot be read: "
            f"{error.strerror}; check the permissions and the contents of {folder}, and {AGAIN}"
        ) from error


def _take_turn(conn: Connection) -> None:
    """Wait until no process copies a file or writes a candidate's file, and lock both until the transaction ends."""
    conn.execute(query("registry.lock_promotions"))
    conn.execute(query("registry.lock_candidate_files"))


def _removable(conn: Connection, config: RegistryConfig, tickers: Sequence[str] | None) -> list[int]:
    rows = conn.execute(
        query("registry.removable_files"),
        {
            "tickers": None if tickers is None else list(tickers),
            "kept_retired": config.kept_retired_files,
            "kept_candidates": config.kept_candidate_files,
        },
    )
    return [checkpoint_id for (checkpoint_id,) in rows]


def _unneeded(
    conn: Connection, folder: Path, tickers: Sequence[str] | None, removed_ids: Sequence[int]
) -> list[RemovedFile]:
    """The files on the disk that no row needs; rows with the given ids are about to be marked, and do not count."""
    sizes = _sizes(folder)
    with conn.cursor(row_factory=class_row(RemovedFile)) as cursor:
        return cursor.execute(
            query("registry.unneeded_files"),
            {
                "file_names": list(sizes),
                "unquoted_names": [unquote(name) for name in sizes],
                "sizes": list(sizes.values()),
                "tickers": None if tickers is None else list(tickers),
                "marked": list(removed_ids),
                "candidate_folder": CANDIDATE_FOLDER,
                "num_digits": SHA256_DIGITS_IN_NAME,
            },
        ).fetchall()


def _sizes(folder: Path) -> dict[str, int]:
    """The files that may be checkpoints, by their names relative to the folder."""
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for place in (folder, folder / CANDIDATE_FOLDER)
        if place.exists() and not (place.name == CANDIDATE_FOLDER and place.is_symlink())
        for path in place.iterdir()
        if WRITTEN_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    }


def _remove(folder: Path, files: Sequence[RemovedFile]) -> None:
    paths = [file_of(folder, file.file_name) for file in files]
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise FileNotRemoved(
                f"checkpoint {path} is not needed and cannot be removed: {error.strerror}; check the permissions of "
                f"{path.parent}, and {AGAIN}"
            ) from error
    for changed in {path.parent for path in paths}:
        sync_folder(changed)
