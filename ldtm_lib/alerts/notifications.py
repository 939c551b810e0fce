"""Notifications of open alerts and of resolutions, one per session, so that 103 failures are one notification.

Alerts of older sessions, such as those of a run over years, share one notification, which names the session of each
line.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Severity
from ldtm_lib.alerts.channels import Channel
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.wording import counted

RANK: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}
WORDS: Mapping[Severity, str] = {"error": "ERROR", "warning": "WARN", "info": "INFO"}
COUNTED: Mapping[Severity, tuple[str, str]] = {
    "error": ("error", "errors"),
    "warning": ("warning", "warnings"),
    "info": ("piece of news", "pieces of news"),
}
LONGEST_SUMMARY, SHORTEST_SUMMARY = 1000, 160
LONGEST_TABLE = 12_000
"""Characters that the summaries of a notification share, unless each would have less than SHORTEST_SUMMARY. The page
behind a link shows the whole text."""
NEWEST_SESSIONS = 5
"""Sessions with a notification of their own; alerts of older sessions, or of none, share one."""
MOST_ROWS = 250
"""Alerts that one notification lists, and as many resolved ones; it counts the others."""
MOST_LINKS = 20
"""Links of one notification; the UI lists the rest."""
NO_ENVIRONMENT: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnnotifiedAlert:
    """An alert that is not notified yet, or whose resolution is not."""

    alert_id: int
    kind: str
    severity: Severity
    session: date | None
    subject: str
    summary: str
    link: str | None
    is_resolved: bool
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """The text that people read."""

    severity: Severity
    title: str
    body: str


def compose_notifications(
    conn: Connection,
    channels: Sequence[Channel],
    *,
    ui_url: str,
    environ: Mapping[str, str] = NO_ENVIRONMENT,
    is_busy: bool = False,
    hold_minutes: float = 0.0,
) -> list[int]:
    """Compose notifications of open alerts and of resolutions that were not notified, and address them to channels.

    Runs in the caller's transaction, in four statements; the alerts are marked as notified in it, so that none is
    notified twice. While `is_busy`, the run under way may raise more alerts: the notification waits, `hold_minutes` at
    most. Secrets of `environ` are removed from every summary. Returns the ids of the notifications.
    """
    with conn.cursor(row_factory=class_row(UnnotifiedAlert)) as cursor:
        found = cursor.execute(query("alerts.unnotified")).fetchall()
    if not found or (is_busy and max(item.age_seconds for item in found) < hold_minutes * 60):
        return []
    newest = sorted({item.session for item in found if item.session}, reverse=True)[:NEWEST_SESSIONS]
    group_of = {item.alert_id: item.session if item.session in newest else None for item in found}
    groups: dict[date | None, list[UnnotifiedAlert]] = {}
    for item in found:
        safe = replace(item, summary=without_secrets(item.summary, environ))
        groups.setdefault(group_of[item.alert_id], []).append(safe)
    notifications = {session: notification_of(session, items, ui_url) for session, items in groups.items()}
    rows = conn.execute(
        query("alerts.insert_notifications"),
        {
            "sessions": list(notifications),
            "severities": [notification.severity for notification in notifications.values()],
            "titles": [notification.title for notification in notifications.values()],
            "bodies": [notification.body for notification in notifications.values()],
        },
    ).fetchall()
    ids: dict[date | None, int] = {session: notification_id for notification_id, session in rows}
    conn.execute(
        query("alerts.mark_notified"),
        {
            "alert_ids": list(group_of),
            "notification_ids": [ids[session] for session in group_of.values()],
        },
    )
    conn.execute(
        query("alerts.insert_deliveries"),
        {
            "notification_ids": list(ids.values()),
            "channels": [channel.key for channel in channels],
            "shown": [channel.shown_as for channel in channels],
        },
    )
    return sorted(ids.values())


def notification_of(session: date | None, items: Sequence[UnnotifiedAlert], ui_url: str) -> Notification:
    """One notification of some alerts and the resolutions of others: its main link, a table, the other links.

    The link of the worst open alert comes first, so that a channel that truncates the text keeps it. Without a session
    of its own the notification names the session of each line.
    """
    ordered = sorted(items, key=_sort_key)
    unresolved = [item for item in ordered if not item.is_resolved]
    resolved = [item for item in ordered if item.is_resolved]
    counts = Counter(item.severity for item in unresolved)
    found = [f"{n} {COUNTED[severity][n != 1]}" for severity in RANK if (n := counts[severity])]
    if resolved:
        found.append(f"{len(resolved)} resolved")
    sessions = {item.session for item in items if item.session}
    names_session = session is None and bool(sessions)
    longest = max(SHORTEST_SUMMARY, min(LONGEST_SUMMARY, LONGEST_TABLE // len(items)))
    links = _links([*unresolved, *resolved], ui_url)
    parts = [*links[:1], _table([_row(item, WORDS[item.severity], longest, names_session) for item in unresolved])]
    if resolved:
        parts.append("Resolved:\n" + _table([_row(item, "OK", longest, names_session) for item in resolved]))
    parts.append("\n".join(links[1:]))
    return Notification(
        severity=unresolved[0].severity if unresolved else "info",
        title=f"LDTM{_span(sessions)}: {', '.join(found)}",
        body="\n\n".join(part for part in parts if part),
    )


def _sort_key(item: UnnotifiedAlert) -> tuple[int, str, str, str, int]:
    """The worst first, then by session."""
    return RANK[item.severity], str(item.session or ""), item.kind, item.subject, item.alert_id


def _span(sessions: Collection[date]) -> str:
    first, last = min(sessions, default=None), max(sessions, default=None)
    return f" {first} to {last}" if first != last else f" {first}" if first else ""


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Aligned columns, the last one unpadded, and the number of rows beyond the limit."""
    listed = rows[:MOST_ROWS]
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*listed, strict=True)][:-1]
    lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in listed]
    return "\n".join([*lines, *([f"and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else [])])


def _row(item: UnnotifiedAlert, word: str, longest: int, names_session: bool) -> tuple[str, ...]:
    flat = _on_one_line(item.summary)
    short = flat if len(flat) <= longest else f"{flat[: longest - 3]}..."
    session = [str(item.session or "-")] if names_session else []
    return (word, *session, item.kind, _on_one_line(item.subject), short)


def _on_one_line(text: str) -> str:
    """A text without line breaks, and without characters that a terminal or a chat interprets, such as escapes."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _links(items: Sequence[UnnotifiedAlert], ui_url: str) -> list[str]:
    """The UI links of some alerts, each once."""
    ui = ui_url.rstrip("/")
    paths = list(dict.fromkeys(item.link for item in items if item.link))
    lines = [f"{ui}{path}" for path in paths[:MOST_LINKS]]
    if len(paths) > MOST_LINKS:
        lines.append(f"and {counted(len(paths) - MOST_LINKS, 'more link')} under {ui}")
    return lines
