"""Messages: what nobody has heard of yet, as one text an evening, so that 103 failures are one message.

So are the elder evenings of a run that looked at years of them: one message, which names the session of each line.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Severity
from ldtm_lib.alerts.apprise_channel import Channel
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query

RANK: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}
WORDS: Mapping[Severity, str] = {"error": "ERROR", "warning": "WARN", "info": "INFO"}
COUNTED: Mapping[Severity, tuple[str, str]] = {
    "error": ("error", "errors"),
    "warning": ("warning", "warnings"),
    "info": ("piece of news", "pieces of news"),
}
LONGEST_SUMMARY, SHORTEST_SUMMARY = 1000, 160
LONGEST_TABLE = 12_000
"""Characters that the summaries of one message share; what is cut off is on the page that its link leads to."""
NEWEST_EVENINGS = 5
"""Evenings that have a message of their own; whatever is about elder ones, or about none, shares one."""
MOST_ROWS = 250
"""Troubles that one message lists, and as many recovered ones; of the others it says how many there are."""
MOST_LINKS = 20
"""Links of one message; the pages list the rest."""
NO_ENVIRONMENT: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A trouble that nobody has heard of, or whose end nobody has heard of."""

    trouble_id: int
    kind: str
    severity: Severity
    evening: date | None
    subject: str
    summary: str
    link: str | None
    is_over: bool
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What people read."""

    severity: Severity
    title: str
    body: str


def compose(
    conn: Connection,
    channels: Sequence[Channel],
    *,
    pages_url: str,
    environ: Mapping[str, str] = NO_ENVIRONMENT,
    is_busy: bool = False,
    hold_minutes: float = 0.0,
) -> list[int]:
    """Make messages of all that nobody has heard of, by evening, and address them to channels. Returns their numbers.

    In the caller's transaction, in four statements: what is told is marked in it, so that nothing is told twice. While
    `is_busy`, the run that it is about may have more to say: it waits, `hold_minutes` at most. What `environ` keeps
    secret is in no message.
    """
    with conn.cursor(row_factory=class_row(Untold)) as cursor:
        found = cursor.execute(query("alerts.untold")).fetchall()
    if not found or (is_busy and max(item.age_seconds for item in found) < hold_minutes * 60):
        return []
    newest = sorted({item.evening for item in found if item.evening}, reverse=True)[:NEWEST_EVENINGS]
    told_with = {item.trouble_id: item.evening if item.evening in newest else None for item in found}
    by_evening: dict[date | None, list[Untold]] = {}
    for item in found:
        told = replace(item, summary=without_secrets(item.summary, environ))
        by_evening.setdefault(told_with[item.trouble_id], []).append(told)
    messages = {evening: message_of(evening, items, pages_url) for evening, items in by_evening.items()}
    rows = conn.execute(
        query("alerts.insert_alerts"),
        {
            "evenings": list(messages),
            "severities": [message.severity for message in messages.values()],
            "titles": [message.title for message in messages.values()],
            "bodies": [message.body for message in messages.values()],
        },
    ).fetchall()
    numbers: dict[date | None, int] = {evening: number for number, evening in rows}
    conn.execute(
        query("alerts.mark_told"),
        {
            "trouble_ids": list(told_with),
            "alert_ids": [numbers[evening] for evening in told_with.values()],
        },
    )
    conn.execute(
        query("alerts.insert_deliveries"),
        {
            "alert_ids": list(numbers.values()),
            "channels": [channel.key for channel in channels],
            "shown": [channel.shown_as for channel in channels],
        },
    )
    return sorted(numbers.values())


def message_of(evening: date | None, items: Sequence[Untold], pages_url: str) -> Message:
    """One message about some troubles and the ends of others: its main link, a table, the other links.

    The page of what is worst comes first, so that it is there wherever a channel cuts. Without an evening it names the
    session of each line where there are any.
    """
    ordered = sorted(items, key=_place)
    told = [item for item in ordered if not item.is_over]
    over = [item for item in ordered if item.is_over]
    counts = Counter(item.severity for item in told)
    counted = [f"{n} {COUNTED[severity][n != 1]}" for severity in RANK if (n := counts[severity])]
    if over:
        counted.append(f"{len(over)} recovered")
    sessions = {item.evening for item in items if item.evening}
    names_session = evening is None and bool(sessions)
    longest = max(SHORTEST_SUMMARY, min(LONGEST_SUMMARY, LONGEST_TABLE // len(items)))
    links = _links(ordered, pages_url)
    parts = [*links[:1], _table([_row(item, WORDS[item.severity], longest, names_session) for item in told])]
    if over:
        parts.append("Recovered:\n" + _table([_row(item, "OK", longest, names_session) for item in over]))
    parts.append("\n".join(links[1:]))
    return Message(
        severity=told[0].severity if told else "info",
        title=f"LDTM{_span(sessions)}: {', '.join(counted)}",
        body="\n\n".join(part for part in parts if part),
    )


def _place(item: Untold) -> tuple[int, str, str, str, int]:
    """Where it stands among others: the worst first, by session."""
    return RANK[item.severity], str(item.evening or ""), item.kind, item.subject, item.trouble_id


def _span(sessions: Collection[date]) -> str:
    first, last = min(sessions, default=None), max(sessions, default=None)
    return f" {first} to {last}" if first != last else f" {first}" if first else ""


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns side by side, the last one as long as it is, and how many rows there are beyond the most."""
    listed = rows[:MOST_ROWS]
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*listed, strict=True)][:-1]
    lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in listed]
    return "\n".join([*lines, *([f"and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else [])])


def _row(item: Untold, word: str, longest: int, names_session: bool) -> tuple[str, ...]:
    flat = " ".join(item.summary.split())
    short = flat if len(flat) <= longest else f"{flat[: longest - 3]}..."
    session = [str(item.evening or "-")] if names_session else []
    return (word, *session, item.kind, item.subject, short)


def _links(items: Sequence[Untold], pages_url: str) -> list[str]:
    """The pages of what is told, each once."""
    pages = pages_url.rstrip("/")
    paths = list(dict.fromkeys(item.link for item in items if item.link))
    lines = [f"{pages}{path}" for path in paths[:MOST_LINKS]]
    if len(paths) > MOST_LINKS:
        lines.append(f"and {len(paths) - MOST_LINKS} more pages under {pages}")
    return lines
