"""Alerts: one row for each condition that a person must know about, however often it is detected, and by any caller.

An alert is open until it is resolved, and is identified by its key. Raising an open alert again updates its severity
and text; it is notified again only if its severity rises or it is still open in a later session. Callers therefore keep
no state and may raise the same alert repeatedly.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from urllib.parse import quote

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One condition that is wrong, or one piece of news."""

    key: str
    """Identity of the condition, such as `ticker/2026-11-20/AAPL`."""
    kind: str
    """Topic, such as `check`, `run`, `ticker`, `gate`."""
    severity: Severity
    subject: str
    """The affected ticker, check or job, in a word or two."""
    summary: str
    """Description in one line."""
    session: date | None = None
    """The session that it is about; notifications are grouped by session."""
    link: str | None = None
    """A path of the UI, such as `/runs/...`; the functions below make them."""
    is_news: bool = False
    """True if it is notified once and never resolved, such as a promotion."""
    seen_at: datetime | None = None
    """Time of the event if the caller knows it better than the database's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The end of an alert; it applies only to an alert that was last seen before it."""

    key: str
    resolved_at: datetime | None = None
    """None for now, by the database's clock."""


def raise_alerts(conn: Connection, alerts: Collection[Alert]) -> int:
    """Record alerts in one statement. Returns how many are new, open again, or worse than was notified."""
    if not alerts:
        return 0
    rows = list({_storable(alert.key): alert for alert in alerts}.values())
    columns = {
        "keys": [_storable(row.key) for row in rows],
        "kinds": [row.kind for row in rows],
        "severities": [row.severity for row in rows],
        "sessions": [row.session for row in rows],
        "subjects": [_storable(row.subject) for row in rows],
        "summaries": [_storable(row.summary) for row in rows],
        "links": [row.link and _storable(row.link) for row in rows],
        "are_news": [row.is_news for row in rows],
        "seen_at": [row.seen_at for row in rows],
    }
    return sum(is_new for (is_new,) in conn.execute(query("alerts.raise"), columns))


def resolve_alerts(conn: Connection, keys: Collection[str]) -> int:
    """Resolve the alerts with these keys now. Returns how many of them were open."""
    return apply_resolutions(conn, [Resolution(key=key) for key in keys])


def apply_resolutions(conn: Connection, resolutions: Collection[Resolution]) -> int:
    """Resolve alerts, each at its own time, in one statement. Returns how many of them were open."""
    if not resolutions:
        return 0
    columns = {
        "keys": [_storable(resolution.key) for resolution in resolutions],
        "resolved_at": [resolution.resolved_at for resolution in resolutions],
    }
    return conn.execute(query("alerts.resolve"), columns).rowcount


def open_alerts(conn: Connection) -> list[Alert]:
    """The alerts that are open, by session and severity; `seen_at` is the time since which each is open."""
    with conn.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(query("alerts.open")).fetchall()


def run_link(run_id: str) -> str:
    """Path of a run in the UI. The setting `ui.url` holds the address before it, here and below."""
    return f"/runs/{quote(run_id, safe='')}"


def partition_link(asset: str, partition: str) -> str:
    """Path of one partition of an asset, such as `2026-11-20|AAPL` of `snapshots`."""
    return f"/assets/{quote(asset)}?view=partitions&partition={quote(partition, safe='')}"


def check_link(asset: str, check: str) -> str:
    """Path of an asset check with its evaluations."""
    return f"/assets/{quote(asset)}?view=checks&checkDetail={quote(check, safe='')}"


def automation_link() -> str:
    """Path of the list of schedules and sensors with their last ticks."""
    return "/automation"


def _storable(text: str) -> str:
    """A text that PostgreSQL accepts: output of other programs may hold a NUL, or bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
