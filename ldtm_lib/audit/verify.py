"""Recompute the whole chain from the tables, and compare it with itself and with what was published of it.

Nothing is believed: hashes are worked out anew from columns, trees from hashes, seals from trees. All of it reads one
state of the database, so that a daily run in progress does not interfere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import psycopg
from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Alert, raise_alerts, resolve_alerts
from ldtm_lib.audit import events
from ldtm_lib.audit.discrepancies import Discrepancy
from ldtm_lib.audit.publications.protocol import Publication, Published
from ldtm_lib.audit.row_checks import check_rows, exchange_sessions
from ldtm_lib.audit.seal import Seal
from ldtm_lib.audit.seal_checks import check_seals, compare
from ldtm_lib.audit.sealing import read_seals
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar

WORK_MEM = "256MB"
ALERT_KEY = "record/verification"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationCoverage:
    """How much of the chain one publication holds."""

    name: str
    num_seals: int
    newest: int | None
    """The highest number of a seal that is published there."""
    num_unpublished: int
    """Seals of the database that are not there."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRows:
    """Whom a stranger has to believe that live forecasts came in time."""

    num_live: int = 0
    num_sealed_in_time: int = 0
    """Sealed before their session opened: whoever had the seal by then need not believe the database's clock."""
    num_stamped_in_time: int = 0
    """With a time stamp of somebody else's over their seal from before their session opened."""
    first_unsealed: date | None = None
    """The first run date with a live forecast that was not sealed in time: its owner's word stands for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a verification saw, and what was wrong."""

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

    @property
    def is_intact(self) -> bool:
        """Whether everything is as it was recorded and as it was published."""
        return not self.discrepancies


def verify(database: Database, calendar: Calendar, publications: Sequence[Publication] = ()) -> AuditReport:
    """Verify the chain of a database against its own rows, the exchange's calendar and its publications."""
    outside = {publication.name: publication.read() for publication in publications}
    with database.connect() as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        try:
            with conn.transaction():
                return _verify(conn, calendar, outside)
        except (psycopg.DataError, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable) as error:
            return _unreadable(error)


def note_verification(conn: Connection, report: AuditReport) -> None:
    """Raise the alert that the record is not intact, which the status shows, or resolve it."""
    if report.is_intact:
        resolve_alerts(conn, [ALERT_KEY])
        return
    num = len(report.discrepancies)
    summary = f"it is not what was recorded or published ({num} found): {report.discrepancies[0].message}"
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
        live=_live_rows(conn, chain, calendar, outside),
        notes=rows.notes,
    )


def _live_rows(
    conn: Connection, chain: Sequence[Seal], calendar: Calendar, outside: Mapping[str, Published]
) -> LiveRows:
    stamps: dict[int, datetime] = {}
    for published in outside.values():
        for seal_id, seal in published.seals.items():
            if seal.stamped_at is not None:
                stamps[seal_id] = min(stamps.get(seal_id, seal.stamped_at), seal.stamped_at)
    own = [seal.sha256 for seal in chain]
    genuine = {n for p in outside.values() for n, s in p.seals.items() if n < len(own) and s.sha256 == own[n]}
    with conn.cursor(row_factory=class_row(LiveRows)) as cursor:
        row = cursor.execute(
            query("audit.live_rows"),
            {
                **exchange_sessions(calendar),
                "first_events": [0, *(seal.first_event + seal.num_events for seal in chain)],
                "sealed_at": [*(seal.sealed_at for seal in chain), None],
                "stamped_at": [*(stamps.get(n) if n in genuine else None for n in range(len(chain))), None],
            },
        ).fetchone()
    return row or LiveRows()


def _unreadable(error: psycopg.Error) -> AuditReport:
    """The report of a record that holds what no verification can read, such as a moment at the end of time."""
    message = (
        f"the record holds what cannot be read as what it should be, it was altered: {' '.join(str(error).split())}"
    )
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
