"""Messages: what nobody has heard of yet, as one text an evening, so that 103 failures are one message."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from psycopg.rows import class_row

from ldtm_lib.alerts.apprise_channel import Channel
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.alerts.troubles import Severity
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.statements import statement

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
    """Make one message an evening of all that nobody has heard of, and address it to channels. Returns their numbers.

    In the caller's transaction, in four statements: what is told is marked in it, so that nothing is told twice. While
    `is_busy`, the run that it is about may have more to say: it waits, `hold_minutes` at most. What `environ` keeps
    secret is in no message.
    """
    with conn.cursor(row_factory=class_row(Untold)) as cursor:
        found = cursor.execute(statement("alerts/untold")).fetchall()
    if not found or (is_busy and max(item.age_seconds for item in found) < hold_minutes * 60):
        return []
    by_evening: dict[date | None, list[Untold]] = {}
    for item in found:
        by_evening.setdefault(item.evening, []).append(replace(item, summary=without_secrets(item.summary, environ)))
    messages = {evening: message_of(evening, items, pages_url) for evening, items in by_evening.items()}
    rows = conn.execute(
        statement("alerts/insert_alerts"),
        {
            "evenings": list(messages),
            "severities": [message.severity for message in messages.values()],
            "titles": [message.title for message in messages.values()],
            "bodies": [message.body for message in messages.values()],
        },
    ).fetchall()
    numbers: dict[date | None, int] = {evening: number for number, evening in rows}
    conn.execute(
        statement("alerts/mark_told"),
        {
            "trouble_ids": [item.trouble_id for item in found],
            "alert_ids": [numbers[item.evening] for item in found],
        },
    )
    conn.execute(
        statement("alerts/insert_deliveries"),
        {
            "alert_ids": list(numbers.values()),
            "channels": [channel.key for channel in channels],
            "shown": [channel.shown_as for channel in channels],
        },
    )
    return sorted(numbers.values())


def message_of(evening: date | None, items: Sequence[Untold], pages_url: str) -> Message:
    """One message about some troubles of an evening and the ends of others: its main link, a table, the other links.

    The page of what is worst comes first, so that it is there wherever a channel cuts.
    """
    ordered = sorted(items, key=lambda item: (RANK[item.severity], item.kind, item.subject, item.trouble_id))
    told = [item for item in ordered if not item.is_over]
    over = [item for item in ordered if item.is_over]
    counts = Counter(item.severity for item in told)
    counted = [f"{n} {COUNTED[severity][n != 1]}" for severity in RANK if (n := counts[severity])]
    if over:
        counted.append(f"{len(over)} recovered")
    longest = max(SHORTEST_SUMMARY, min(LONGEST_SUMMARY, LONGEST_TABLE // len(items)))
    links = _links(ordered, pages_url)
    parts = [*links[:1], _table([(WORDS[item.severity], *_columns(item, longest)) for item in told])]
    if over:
        parts.append("Recovered:\n" + _table([("OK", *_columns(item, longest)) for item in over]))
    parts.append("\n".join(links[1:]))
    return Message(
        severity=told[0].severity if told else "info",
        title=f"LDTM{f' {evening}' if evening else ''}: {', '.join(counted)}",
        body="\n\n".join(part for part in parts if part),
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns side by side, the last one as long as it is."""
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*rows, strict=True)][:-1]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )


def _columns(item: Untold, longest: int) -> tuple[str, str, str]:
    flat = " ".join(item.summary.split())
    return item.kind, item.subject, flat if len(flat) <= longest else f"{flat[: longest - 3]}..."


def _links(items: Sequence[Untold], pages_url: str) -> list[str]:
    """The pages of what is told, each once."""
    pages = pages_url.rstrip("/")
    paths = list(dict.fromkeys(item.link for item in items if item.link))
    lines = [f"{pages}{path}" for path in paths[:MOST_LINKS]]
    if len(paths) > MOST_LINKS:
        lines.append(f"and {len(paths) - MOST_LINKS} more pages under {pages}")
    return lines
