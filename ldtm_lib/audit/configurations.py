"""Configurations of the chain: the universe and settings in force at each event, and contradictions in the ledger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from itertools import pairwise

import polars as pl
from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar
from ldtm_lib.wording import counted

LISTED = 3
"""Number of missing rows that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The universe and the settings from one event of the chain on."""

    configuration_id: int
    """From 1, without gaps."""
    event_id: int | None
    installation_id: str
    tickers: list[str]
    retired: Mapping[str, str]
    """By ticker, the first session on which it no longer belongs to the universe, in ISO 8601."""
    settings: str
    """JSON: a list of sections by their class names."""
    settings_sha256: str
    recorded_at: datetime

    @property
    def has_its_settings(self) -> bool:
        """True if the hash on record is that of the settings."""
        return sha256(self.settings.encode()).hexdigest() == self.settings_sha256

    @property
    def left(self) -> dict[str, date]:
        """The tickers that leave the universe, with their first session outside of it."""
        return {ticker: day for ticker, text in self.retired.items() if (day := _day(text)) is not None}


def configurations(conn: Connection) -> list[Configuration]:
    """All configurations on record, the oldest first."""
    with conn.cursor(row_factory=class_row(Configuration)) as cursor:
        return cursor.execute(query("audit.configurations")).fetchall()


def changes(before: Configuration | None, after: Configuration) -> list[str]:
    """The changes that a configuration made, in words; for the first one, its tickers and settings."""
    if before is None:
        return [f"{counted(len(after.tickers), 'ticker')}, settings with SHA-256 {after.settings_sha256[:8]}..."]
    found: list[str] = []
    if added := [ticker for ticker in after.tickers if ticker not in before.tickers]:
        found.append(f"added {', '.join(added)}")
    if removed := [ticker for ticker in before.tickers if ticker not in after.tickers]:
        found.append(f"removed {', '.join(removed)}, which had not entered service")
    left, had_left = after.left, before.left
    found += [f"{ticker} leaves the universe on {day}" for ticker, day in left.items() if had_left.get(ticker) != day]
    found += [f"{ticker} is back" for ticker in had_left if ticker not in left]
    old, new = _settings(before), _settings(after)
    found += [
        f"{name} {json.dumps(old.get(name))} -> {json.dumps(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    return found or ["the order of the tickers"]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except (ValueError, TypeError):
        return None


def _settings(of: Configuration) -> dict[str, object]:
    """The settings by names such as `gate.min_folds`."""
    try:
        return {
            f"{section.removesuffix('Config').lower()}.{name}": value
            for part in json.loads(of.settings)
            for section, values in part.items()
            for name, value in values.items()
        }
    except (ValueError, AttributeError):
        return {}


def is_unlisted(forecasts: pl.DataFrame, in_force: Sequence[Configuration]) -> pl.Series:
    """True for each forecast of a daily run whose ticker was not in the configuration in force.

    `forecasts` has event_id, ticker and simulation_id; those recorded before the first configuration are not judged.
    """
    recorded = [each for each in in_force if each.event_id is not None]
    event_ids = forecasts["event_id"].fill_null(-1)
    place = pl.Series([each.event_id for each in recorded], dtype=pl.Int64).search_sorted(event_ids, side="right")
    wrong = pl.Series([False]).new_from_index(0, len(forecasts))
    for number, each in enumerate(recorded, start=1):
        wrong |= (place == number) & ~forecasts["ticker"].is_in(each.tickers).fill_null(value=False)
    return wrong & (forecasts["simulation_id"] == 0)


def missing_rows(
    conn: Connection,
    forecasts: pl.DataFrame,
    in_force: Sequence[Configuration],
    calendar: Calendar,
    sealed_at: datetime,
) -> list[str]:
    """Notes about tickers that lack the row of a session on which they were in service and in the universe.

    The search covers sessions whose forecasts became due between the first configuration and `sealed_at`, the time of
    the newest seal. A ticker that leaves the universe needs no row on and after the day that the newest configuration
    gives; a note names each ticker whose departure was recorded after the fact.
    """
    if not in_force:
        return []
    left = in_force[-1].left
    first, last = calendar.offset(_due(calendar, in_force[0].recorded_at), 1), _due(calendar, sealed_at)
    of_daily_runs = forecasts.filter(pl.col("simulation_id") == 0).group_by("ticker").agg("run_date")
    rows = {ticker: set(days) for ticker, days in of_daily_runs.iter_rows()}
    notes: list[str] = []
    for ticker, entered in conn.execute(query("audit.service")):
        sessions = calendar.between(max(entered, first), last)
        due = {day for day in sessions if ticker not in left or day < left[ticker]}
        if lacking := sorted(due - rows.get(ticker, set())):
            named = ", ".join(map(str, lacking[:LISTED])) + (", ..." if lacking[LISTED:] else "")
            notes.append(f"{ticker} was in service and has no row for {counted(len(lacking), 'session')}: {named}")
    return notes + _late_departures(in_force, calendar)


def _due(calendar: Calendar, moment: datetime) -> date:
    """The newest session whose forecasts had to be on record by a moment, because the next session had opened."""
    closed = calendar.last_closed(moment)
    return closed if moment >= calendar.opens_at(calendar.offset(closed, 1)) else calendar.offset(closed, -1)


def _late_departures(in_force: Sequence[Configuration], calendar: Calendar) -> list[str]:
    """Notes about tickers whose departure was recorded after the close of a session for which they need no row."""
    notes: list[str] = []
    for before, each in pairwise(in_force):
        closed = calendar.last_closed(each.recorded_at)
        notes += [
            f"{ticker} left the universe on {day}, recorded at {each.recorded_at:%Y-%m-%d %H:%M} UTC, after "
            f"session {closed} had closed"
            for ticker, day in each.left.items()
            if day <= closed and before.left.get(ticker) != day
        ]
    return notes
