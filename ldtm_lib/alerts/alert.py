"""Troubles: whatever people must hear of, one row each, however often it is seen and by whom.

A trouble is open until it is well again. The same key is the same trouble: seen again while it is open it is as bad as
it was seen last, and is told again only where it got worse or is still there on a later evening. So whoever looks needs
to remember nothing, and may look twice.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that went wrong, or that is news."""

    key: str
    """What makes it the same thing again, such as `ticker/2026-11-20/AAPL`."""
    kind: str
    """What it is about, such as `check`, `run`, `ticker`, `gate`."""
    severity: Severity
    subject: str
    """Who or what has it, in a word or two: a ticker, a check, a job."""
    summary: str
    """What it is, in one line."""
    evening: date | None = None
    """The session that it is about; messages are made by evening."""
    link: str | None = None
    """A path of the pages, such as `/runs/...`; see `ldtm_lib.alerts.links`."""
    is_news: bool = False
    """Whether it is told once and has no end, such as a promotion."""
    seen_at: datetime | None = None
    """When it happened, where whoever saw it knows that better than the database's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A trouble that is well again, if it began before that."""

    key: str
    seen_at: datetime | None = None
    """When it was well again; None for now, by the database's clock."""


def notice(conn: Connection, troubles: Collection[Trouble]) -> int:
    """Put troubles on record, in one statement. Returns how many are new, there again, or worse than was told."""
    if not troubles:
        return 0
    rows = list({_storable(trouble.key): trouble for trouble in troubles}.values())
    columns = {
        "keys": [_storable(row.key) for row in rows],
        "kinds": [row.kind for row in rows],
        "severities": [row.severity for row in rows],
        "evenings": [row.evening for row in rows],
        "subjects": [_storable(row.subject) for row in rows],
        "summaries": [_storable(row.summary) for row in rows],
        "links": [row.link and _storable(row.link) for row in rows],
        "are_news": [row.is_news for row in rows],
        "seen_at": [row.seen_at for row in rows],
    }
    return sum(is_new for (is_new,) in conn.execute(query("alerts.notice"), columns))


def end(conn: Connection, keys: Collection[str]) -> int:
    """Say that the troubles with these keys are well again now. Returns how many of them were open."""
    return end_as_seen(conn, [Ending(key=key) for key in keys])


def end_as_seen(conn: Connection, endings: Collection[Ending]) -> int:
    """Say what is well again and since when, in one statement. Returns how many of them were open."""
    if not endings:
        return 0
    columns = {
        "keys": [_storable(ending.key) for ending in endings],
        "seen_at": [ending.seen_at for ending in endings],
    }
    return conn.execute(query("alerts.end"), columns).rowcount


def open_troubles(conn: Connection) -> list[Trouble]:
    """What is not well at this moment, by evening and severity; `seen_at` is since when."""
    with conn.cursor(row_factory=class_row(Trouble)) as cursor:
        return cursor.execute(query("alerts.open_troubles")).fetchall()


def _storable(text: str) -> str:
    """A text as PostgreSQL takes it: what a program said may hold a NUL, or bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
