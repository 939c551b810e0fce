"""The seals of the record, their publications, and the last verification."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import psycopg

from ldtm_dashboard.frames.tables import UTC_TIME, newest_event, read_frame
from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.publications.seal_file import seal_file_of
from ldtm_lib.audit.sealing import contradiction
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LdtmError, PublicationFailed
from ldtm_lib.project import Project
from ldtm_lib.wording import counted

NUM_SEALS = 100
"""Newest seals that the page lists."""
SEALS = pl.Schema(
    {
        "seal_id": pl.Int64,
        "session": pl.Date,
        "first_event": pl.Int64,
        "num_events": pl.Int64,
        "sealed_at": UTC_TIME,
        "sha256": pl.String,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastVerification:
    """The newest result of the check that verifies the record outside of the database server."""

    is_intact: bool
    at: datetime
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordView:
    """Data of the chain that the page shows."""

    num_events: int
    num_unsealed: int
    seals: pl.DataFrame
    """Newest first."""
    publications: tuple[str, ...]
    """Names of the places in which seals are published."""
    published: str
    """A sentence about the file of seals: whether it holds the newest seals, and whether they equal the database's."""


def record_view(conn: Connection, project: Project) -> RecordView:
    """The chain and its publications.

    The file of seals is only compared with the newest seals in the database; the chain itself is not verified.
    """
    seals = read_frame(conn, query("dashboard.seals"), {"num_rows": NUM_SEALS}, SEALS)
    num_events = newest_event(conn) + 1
    sealed = 0 if seals.is_empty() else int(seals["first_event"][0] + seals["num_events"][0])
    return RecordView(
        num_events=num_events,
        num_unsealed=max(num_events - sealed, 0),
        seals=seals,
        publications=tuple(place.name for place in publications_of(project.settings, project.home)),
        published=_published(seals, project),
    )


def hashes_on_record(conn: Connection, numbers: Sequence[int]) -> dict[int, str]:
    """The SHA-256 of some seals in this database."""
    return dict(conn.execute(query("dashboard.seals_by_number"), {"numbers": list(numbers)}).fetchall())


def last_verification(project: Project) -> LastVerification | None:
    """The newest verification by a daily run; None before the first one, or if Dagster has no tables."""
    try:
        with project.dagster_database.connect() as conn:
            row = conn.execute(query("dashboard.last_verification")).fetchone()
    except psycopg.Error:
        return None
    if row is None:
        return None
    status, at, run_id = row
    return LastVerification(is_intact=status == "SUCCEEDED", at=at, run_id=run_id)


def _published(seals: pl.DataFrame, project: Project) -> str:
    file = seal_file_of(project.settings, project.home)
    try:
        found = file.hashes()
    except (PublicationFailed, LdtmError) as error:
        return f"{file.name} cannot be read: {error}"
    if not found:
        return f"{file.name} holds no seal yet; a daily run makes one at its end, and `ldtm audit seal` makes one now."
    own = {number: bytes.fromhex(sha256) for number, sha256 in zip(seals["seal_id"], seals["sha256"], strict=True)}
    oldest = min(own, default=0)
    newest = {number: sha256 for number, sha256 in found.items() if number >= oldest}
    if (wrong := contradiction(newest, own)) is not None:
        return f"{file.name} contradicts the database: {wrong}"
    lacking = sum(number not in found for number in own)
    rest = f"; {lacking} of the newest {len(own)} are not published there yet" if lacking else ""
    held = counted(len(found), "seal")
    return f"{file.name} holds {held}, and the newest {len(newest)} equal those of the database{rest}."
