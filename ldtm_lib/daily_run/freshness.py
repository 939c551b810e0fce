"""Freshness: a session's bars, forecasts and actuals exist by the open of the next one, and models are retrained."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import open_alerts, resolve_alerts
from ldtm_lib.daily_run.deadlines import give_up
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import CalendarError
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

CHECKS = {"prices": "prices_are_fresh", "snapshots": "snapshots_are_fresh", "fillbacks": "actuals_are_fresh"}
"""The check of each asset; alerts name it `snapshots/snapshots_are_fresh`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """State of one session at a moment, for the tickers that belonged to the universe on it."""

    session: date
    deadline: datetime
    """The open of the session after it."""
    moment: datetime
    """The moment of this check, by the database's clock."""
    num_tickers: int
    without_bar: list[str]
    """Tickers whose bar was not recorded after the close."""
    without_row: list[str]
    """Tickers in service that have neither a forecast nor an abstention."""
    not_in_service: list[str]
    """Tickers that were not in service on the session: they entered service later, or not at all."""
    late: list[str]
    """Tickers whose row came after the deadline."""
    num_live: int
    num_simulated: int
    """Rows of the newest simulation."""
    num_abstained: int
    """Abstentions among the live and late rows."""
    unfilled: list[str]
    """Actuals of any ticker that have a bar and are not filled, such as `AAPL 2026-11-19, next day`."""

    @property
    def is_overdue(self) -> bool:
        """True if the deadline has passed; before it, missing items may still come."""
        return self.moment >= self.deadline

    @property
    def num_rows(self) -> int:
        """Tickers in service that have a row."""
        return self.num_tickers - len(self.not_in_service) - len(self.without_row)

    @property
    def num_bars(self) -> int:
        """Tickers that have a bar."""
        return self.num_tickers - len(self.without_bar)

    @property
    def missing(self) -> dict[str, list[str]]:
        """The items that each asset lacks."""
        return {"prices": self.without_bar, "snapshots": self.without_row, "fillbacks": self.unfilled}

    @property
    def is_silent(self) -> bool:
        """True if every ticker in service has its row and no ticker has a forecast, as when no model is active."""
        return 0 < self.num_tickers - len(self.not_in_service) <= self.num_abstained

    @property
    def is_complete(self) -> bool:
        """True if nothing is missing."""
        return not any(self.missing.values())


def freshness(conn: Connection, settings: Settings, session: date | None = None) -> Freshness:
    """The freshness of a session, or of the newest closed one with partitions, with one statement for any universe.

    A session after the last partition expects no bar and no row; actuals that are not filled still count. Raises
    CalendarError for a date that is not a closed session by the database's calendar and clock.
    """
    with conn.cursor(row_factory=class_row(Freshness)) as cursor:
        found = cursor.execute(
            query("daily_run.freshness"),
            {
                "session": session,
                "last_partition": settings.partitions.last_session,
                "tickers": list(settings.tickers),
                "removed_on": [settings.retired.get(ticker) for ticker in settings.tickers],
            },
        ).fetchone()
    if found is None:
        by = "by the database's calendar and clock"
        if session is not None:
            raise CalendarError(f"{session} is not a closed session {by}; name another one, or none for the newest")
        raise CalendarError(f"no session has closed {by}; `ldtm db migrate` extends the calendar")
    return found


def not_retrained(conn: Connection, settings: Settings, session: date) -> list[str]:
    """The tickers of a session with bars newer than their last training, and no verdict for `max_training_age_days`.

    A training counts when the gate has judged its result, even if the result is that there are too few bars. After the
    last session that has partitions nothing is forecast, so no training is due. The days of a ticker without a verdict
    count from its first bar. One statement.
    """
    last = settings.partitions.last_session
    if last is not None and session >= last:
        return []
    rows = conn.execute(
        query("daily_run.not_retrained"),
        {"tickers": list(settings.tickers_on(session)), "days": settings.automation.max_training_age_days},
    ).fetchall()
    return [f"{ticker} since {judged_at:%Y-%m-%d}" if judged_at else f"{ticker} never" for ticker, judged_at in rows]


def resolve_freshness_alerts(conn: Connection, settings: Settings, calendar: Calendar, moment: datetime) -> int:
    """Resolve the alerts of sessions that missed their deadline and are complete now; returns the number of them.

    A bar that is missing for longer than `ledger.void_after_sessions` is given up: its alert is resolved, with a
    summary that says so. Each session with an open alert takes one more statement.
    """
    awaited_since = calendar.offset(calendar.last_closed(moment), -settings.ledger.void_after_sessions)
    found: dict[date, Freshness] = {}
    complete: list[str] = []
    given_up: list[str] = []
    for alert in open_alerts(conn):
        for asset in CHECKS:
            if alert.session is not None and alert.key == freshness_alert_key(asset, alert.session):
                if alert.session not in found:
                    found[alert.session] = freshness(conn, settings, alert.session)
                if not found[alert.session].missing[asset]:
                    complete.append(alert.key)
                elif asset == "prices" and alert.session < awaited_since:
                    given_up.append(alert.key)
    give_up(conn, given_up)
    return resolve_alerts(conn, complete + given_up)


def freshness_alert_key(asset: str, session: date) -> str:
    """The key of the alert that an asset is incomplete for a session."""
    return f"check/{asset}/{CHECKS[asset]}/{session}"


def sessions_with_gaps(conn: Connection, expected: Collection[tuple[str, date]]) -> set[date]:
    """The sessions of those (ticker, session) pairs that have no row although the ticker was in service."""
    pairs = {"tickers": [ticker for ticker, _ in expected], "sessions": [session for _, session in expected]}
    return {session for (session,) in conn.execute(query("daily_run.sessions_with_gaps"), pairs)}
