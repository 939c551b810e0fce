"""Recompute the whole chain from the tables, and compare it with itself and with its publications.

Nothing is trusted: hashes are computed again from columns, trees from hashes, seals from trees. The whole verification
reads one state of the database, so that a daily run in progress does not interfere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import psycopg

from ldtm_lib.alerts.alert import Alert, raise_alerts, resolve_alerts
from ldtm_lib.audit import events
from ldtm_lib.audit.configurations import Configuration
from ldtm_lib.audit.discrepancies import Discrepancy
from ldtm_lib.audit.live_forecasts import LiveRows, live_rows
from ldtm_lib.audit.publications.git_repository import GitRepository
from ldtm_lib.audit.publications.protocol import Publication, Published
from ldtm_lib.audit.row_checks import check_rows
from ldtm_lib.audit.seal import Seal
from ldtm_lib.audit.seal_checks import check_seals, compare
from ldtm_lib.audit.sealing import read_seals
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar

Verdict = Literal["intact", "altered", "empty", "not compared"]
WORK_MEM = "256MB"
ALERT_KEY = "record/verification"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationCoverage:
    """The part of the chain that one publication holds."""

    name: str
    num_seals: int
    newest: int | None
    """The highest number of a seal that is published there."""
    num_unpublished: int
    """Seals of the database that are not there."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The scope of a verification, and its findings."""

    num_events: int
    num_seals: int
    num_unsealed: int
    """Events since the last seal: no seal covers them yet."""
    newest_seal: Seal | None
    discrepancies: tuple[Discrepancy, ...]
    """Events in the order of the chain, then rows without one, seals, publications."""
    publications: tuple[PublicationCoverage, ...]
    live: LiveRows
    notes: tuple[str, ...]
    configurations: tuple[Configuration, ...] = ()
    """The universe and the settings as the chain has them, the oldest first."""
    num_verdicts: int = 0
    """Verdicts that were computed again from the forecasts of their backtests."""
    num_other_verdicts: int = 0
    """Verdicts on a backtest that were not computed again: their bounds are not on record, or of another version of
    LDTM."""
    unasked: tuple[str, ...] = ()
    """Reasons why remotes of publications could not be asked: their content was not compared."""

    @property
    def is_intact(self) -> bool:
        """True if nothing differs from the recorded events, and from the published seals that could be read."""
        return not self.discrepancies

    @property
    def verdict(self) -> Verdict:
        """The result in a word; neither an empty record nor a remote that did not answer proves anything."""
        if self.discrepancies:
            return "altered"
        if not self.num_events:
            return "empty"
        return "not compared" if self.unasked else "intact"


def verify(database: Database, calendar: Calendar, publications: Sequence[Publication] = ()) -> AuditReport:
    """Verify the chain of a database against its own rows, the exchange's calendar and its publications."""
    unasked = [reason for place in publications if isinstance(place, GitRepository) and (reason := place.ask_remote())]
    outside = {publication.name: publication.read() for publication in publications}
    with database.connect() as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        try:
            with conn.transaction():
                return replace(_verify(conn, calendar, outside), unasked=tuple(unasked))
        except (psycopg.DataError, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable) as error:
            return _unreadable(error)


def note_verification(conn: Connection, report: AuditReport) -> None:
    """Raise the alert that the record is not intact, which the status shows, or resolve it."""
    if report.is_intact:
        resolve_alerts(conn, [ALERT_KEY])
        return
    num = len(report.discrepancies)
    summary = f"it differs from what was recorded or published ({num} found): {report.discrepancies[0].message}"
    raise_alerts(conn, [Alert(key=ALERT_KEY, kind="record", severity="error", subject="the record", summary=summary)])


def _verify(conn: Connection, calendar: Calendar, outside: dict[str, Published]) -> AuditReport:
    conn.execute(query("audit.settings"), {"work_mem": WORK_MEM})
    num_events, _ = conn.execute(query("audit.extent")).fetchone() or (0, 0)
    chain = read_seals(conn)
    rows = check_rows(conn, chain, calendar)
    found = [*rows.found, *check_seals(chain, rows.found)]
    for name, published in outside.items():
        found += compare(name, published, chain, lambda event_id: events.name(conn, event_id))
    found.sort(key=lambda discrepancy: (discrepancy.event_id is None, discrepancy.event_id or 0))
    sealed_end = chain[-1].first_event + chain[-1].num_events if chain else 0
    return AuditReport(
        num_events=num_events,
        num_seals=len(chain),
        num_unsealed=max(num_events - sealed_end, 0),
        newest_seal=chain[-1] if chain else None,
        discrepancies=tuple(found),
        publications=tuple(_coverage(name, published, chain) for name, published in outside.items()),
        live=live_rows(rows.live, chain, outside),
        notes=rows.notes,
        configurations=rows.configurations,
        num_verdicts=rows.num_verdicts,
        num_other_verdicts=rows.num_other_verdicts,
    )


def _unreadable(error: psycopg.Error) -> AuditReport:
    """The report of a record with values that no verification can read, such as a moment at the end of time."""
    message = f"the record holds a value that cannot be read, so it was altered: {' '.join(str(error).split())}"
    return AuditReport(
        num_events=0,
        num_seals=0,
        num_unsealed=0,
        newest_seal=None,
        discrepancies=(Discrepancy(what="unreadable", message=message),),
        publications=(),
        live=LiveRows(),
        notes=(),
    )


def _coverage(name: str, published: Published, chain: Sequence[Seal]) -> PublicationCoverage:
    return PublicationCoverage(
        name=name,
        num_seals=len(published.seals),
        newest=max(published.seals, default=None),
        num_unpublished=sum(seal.seal_id not in published.seals for seal in chain),
        notes=published.notes,
    )
