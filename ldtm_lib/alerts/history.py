"""Recorded alerts, open and resolved, with the times of their notifications."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Severity
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LdtmError

RECENT = timedelta(days=7)
"""Time for which resolved alerts and news stay in the list by default."""


class UnknownAlert(LdtmError):
    """No alert has the given key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAlert:
    """One alert with its times."""

    key: str
    kind: str
    severity: Severity
    session: date | None
    subject: str
    summary: str
    link: str | None
    """A path of the UI."""
    is_news: bool
    """True for an event that is notified once and never resolved, such as a promotion."""
    raised_at: datetime
    """Time since which it is open, or a reminder is due."""
    seen_at: datetime
    notified_at: datetime | None
    """Time of its last notification; None while one is due."""
    resolved_at: datetime | None
    resolution_notified_at: datetime | None

    @property
    def is_open(self) -> bool:
        """True while the condition exists."""
        return self.resolved_at is None and not self.is_news


def recorded_alerts(conn: Connection, *, all_times: bool = False) -> list[RecordedAlert]:
    """Open alerts, then resolved alerts and news of the last seven days; with `all_times`, all of them."""
    since = None if all_times else now(conn) - RECENT
    with conn.cursor(row_factory=class_row(RecordedAlert)) as cursor:
        return cursor.execute(query("alerts.history"), {"since": since}).fetchall()


def recorded_alert(conn: Connection, key: str) -> RecordedAlert:
    """The alert with a key; raises UnknownAlert."""
    with conn.cursor(row_factory=class_row(RecordedAlert)) as cursor:
        found = cursor.execute(query("alerts.by_key"), {"key": key}).fetchone()
    if found is None:
        raise UnknownAlert(f"no alert has the key {key!r}; `ldtm alerts list --all` shows the keys of all alerts")
    return found
