"""How an installation is doing, from its tables: the last evening, what is open, who speaks, what people were told."""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Trouble, open_troubles
from ldtm_lib.daily_run.deadlines import failing_tickers, missed_deadlines
from ldtm_lib.daily_run.freshness import Freshness, freshness, named
from ldtm_lib.daily_run.pending_partitions import OpenCell, evening_of, open_cells
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.degradation import degraded_models
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

NUM_NEWEST = 3
"""Messages that are shown whatever became of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one look at the tables counts."""

    moment: datetime
    num_tried: int
    """Tickers of the evening that were tried."""
    num_done: int
    """Those of them of which all of the evening is there."""
    num_attempts: int | None
    """The most attempts at one ticker; None before the first."""
    first_attempt_at: datetime | None
    last_attempt_at: datetime | None
    num_without_bar: int
    """Actuals that are due and wait for their bar."""
    oldest_without_bar: date | None
    num_refused_bars: int
    speaking: list[str] | None
    """Tickers of the universe that have an active model."""
    newest_promotion: str | None
    promoted_at: datetime | None
    database_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One alert, and the channels that do not have it."""

    alert_id: int
    made_at: datetime
    evening: date | None
    severity: str
    title: str
    undelivered: list[str]
    """Channels that it is still on its way to."""
    failed: list[str]
    """Channels that did not take it, with the reason: it is tried again, or was given up in the last week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An installation at a moment."""

    evening: Freshness
    """Of the newest session whose evening has begun, among those that there are partitions of."""
    is_last: bool
    """Whether there are no partitions of later sessions, so that this evening is the last one."""
    standing: Standing
    since: date
    """The oldest session that is made up for by itself, and that troubles are heard of."""
    cells: tuple[OpenCell, ...]
    """What is still to be made of the sessions since then."""
    universe: tuple[str, ...]
    """The tickers that belong to the universe on the newest closed session, or on the last one that there is."""
    degraded: tuple[str, ...]
    """Per active model that fell significantly below the gate, what its record is."""
    messages: tuple[Message, ...]
    troubles: tuple[Trouble, ...]
    """What is not well at this moment."""

    @property
    def silent(self) -> list[str]:
        """Tickers that have no active model, and abstain."""
        return [ticker for ticker in self.universe if ticker not in (self.standing.speaking or ())]

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever tried, trained or recorded, as far as the newest evening shows."""
        return not (self.evening.num_rows or self.standing.num_tried or self.standing.newest_promotion)


def status(conn: Connection, settings: Settings, calendar: Calendar) -> Status:
    """Look at everything, with a constant number of statements; the schema must be up to date."""
    moment = now(conn)
    newest = calendar.last_closed(moment)
    evening = newest if evening_of(newest) <= moment else calendar.offset(newest, -1)
    last = settings.partitions.last_session
    there_are = calendar.between(settings.partitions.first_session, min(last or evening, evening))
    evening = there_are[-1] if there_are else evening
    is_last = last is not None and calendar.offset(evening, 1) > last
    universe = settings.tickers_on(evening if is_last else newest)
    with conn.cursor(row_factory=class_row(Standing)) as cursor:
        standing = cursor.execute(
            query("maintenance.status"), {"session": evening, "tickers": list(universe)}
        ).fetchone()
    assert standing is not None
    with conn.cursor(row_factory=class_row(Message)) as cursor:
        messages = cursor.execute(query("maintenance.status_alerts"), {"num_newest": NUM_NEWEST}).fetchall()
    records = degraded_models(conn, settings.gate, significance=settings.registry.degradation_significance)
    return Status(
        evening=freshness(conn, settings, evening),
        is_last=is_last,
        standing=standing,
        since=calendar.offset(newest, 1 - settings.automation.catch_up_sessions),
        cells=tuple(open_cells(conn, settings, calendar, moment)),
        universe=universe,
        degraded=tuple(record.reason for record in records if record.is_degraded),
        messages=tuple(messages),
        troubles=tuple(open_troubles(conn)),
    )


def needs(found: Status, settings: Settings) -> list[str]:
    """What a person should do something about, in sentences; what may still come by itself is not among it."""
    if found.is_new:
        return ["nothing was forecast yet: materialize price_history, then backtests, checkpoints and registry"]
    evening = found.evening
    told: list[str] = []
    if evening.is_overdue and evening.without_row:
        told.append(f"no row of {evening.session} for {named(evening.without_row)}: materialize these snapshots")
    if evening.is_overdue and evening.without_bar:
        told.append(f"no bar of {evening.session} for {named(evening.without_bar)}: look at the source")
    if evening.is_overdue and evening.unfilled:
        told.append(f"not filled although the bar is there, {named(evening.unfilled)}: `ldtm fillback`")
    if not found.standing.speaking:
        told.append("no model is active, so every ticker abstains: `ldtm registry list` says why")
    told += [f"{reason}: see `ldtm registry rollback`" for reason in found.degraded]
    told += [f"{trouble.subject}: {trouble.summary}" for trouble in _troubles_of(found, settings)]
    told += [f"alert {each.alert_id} was not delivered to {way}" for each in found.messages for way in each.failed]
    return told


def _troubles_of(found: Status, settings: Settings) -> list[Trouble]:
    """Troubles on record, and those that nobody has noticed yet: what notices them may be what does not run."""
    moment = found.standing.moment
    known = {trouble.key for trouble in found.troubles}
    seen = [
        trouble
        for trouble in found.troubles
        if trouble.severity != "info"
        and trouble.kind != "automation"  # Dagster is asked for it, and may know more
        and (trouble.evening is None or trouble.evening >= found.since)
    ]
    unseen = [
        *failing_tickers(found.cells, settings.automation, moment),
        *missed_deadlines(found.cells, settings.automation, moment),
    ]
    return [*seen, *(trouble for trouble in unseen if trouble.key not in known)]
