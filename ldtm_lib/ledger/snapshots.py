"""Snapshots: put the forecasts of a run date on record, one row per ticker and run date; the first one stays."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.rows import class_row

from ldtm_lib.database import clock
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LedgerRefused
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.ledger.backends import networks_of_daily_run
from ldtm_lib.ledger.baselines import NO_BASELINES, TakenBaselines, take_baselines
from ldtm_lib.ledger.drafts import Draft, draft_all
from ldtm_lib.ledger.forecasters import forecasters
from ldtm_lib.ledger.intervals import half_widths
from ldtm_lib.ledger.service import first_sessions, without_row
from ldtm_lib.ledger.shadows import NO_SHADOWS, TakenShadows, take_shadows
from ldtm_lib.ledger.simulations import NO_SIMULATION
from ldtm_lib.registry.configurations import record_configuration
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

SAME_CAUSES = ("abstained_reason", "checkpoint_sha256", "window_sha256", "direction_pred")
PREDICTIONS = ("next_day_pred", "next_monday_pred", "one_month_pred")
SAME_PRICE = 1e-5
"""Relative difference: the same float32 network on another machine or device differs by about 1e-6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRow(Draft):
    """One row of the ledger as it is on record."""

    kind: Literal["live", "late", "simulated"]
    simulation_id: int
    """The simulation that made it; 0 for a daily run."""
    recorded_at: datetime

    @property
    def model_name(self) -> str:
        """The version of its model; for a model without one, its status and the first digits of its SHA-256."""
        return self.model_version or f"{self.model_status} {(self.checkpoint_sha256 or '')[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A forecast that was refused because another one of that ticker and run date is on record."""

    ticker: str
    run_date: date
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """The rows on record for a run date now, and the outcome of this call."""

    run_date: date
    rows: tuple[SnapshotRow, ...]
    """One per ticker asked for, as stored, without those in `not_in_service` or outside of the universe."""
    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    num_bullish: int
    num_neutral: int
    num_bearish: int
    num_abstained: int
    model_versions: tuple[str, ...]
    """The distinct versions that made forecasts; a model without a version is named by digits of its SHA-256."""
    not_in_service: tuple[str, ...]
    """Tickers asked for that have no row because they enter service on a later session."""
    num_shadows: int
    """Shadow forecasts stored with these rows; they are never counted."""
    shadow_notes: tuple[str, ...]
    """Reasons why models that were selected for shadows have none."""
    num_with_baselines: int
    """Rows written by this call that have baseline forecasts."""
    baseline_notes: tuple[str, ...]
    """Reasons why rows written by this call have none."""
    backend_notes: tuple[str, ...]
    """Reasons why PyTorch computed networks that an export was to compute."""

    @property
    def cohort(self) -> str:
        """Counts of directions and abstentions, and the models that made them, in a line of the log."""
        return (
            f"{self.run_date}: {self.num_bullish} bullish, {self.num_neutral} neutral, {self.num_bearish} bearish, "
            f"{self.num_abstained} abstained, by {', '.join(self.model_versions) or 'no model'}"
        )


def take_snapshots(
    conn: Connection,
    *,
    run_date: date,
    tickers: Iterable[str],
    folder: Path,
    settings: Settings,
    calendar: Calendar,
    simulation_id: int = NO_SIMULATION,
    exports: Path | None = None,
) -> SnapshotReport:
    """Put forecasts on record for those of the given tickers that belonged to the universe on a closed session.

    `folder` holds the checkpoint files and `exports` the exported files, which `settings.forecast.backend` may select;
    without `exports` PyTorch computes all networks. Every such ticker that is in service ends with a row; a ticker that
    cannot be forecast abstains with its reason. A row of a simulation does not require that its ticker is in service. A
    row that is on record stays as it is: the same forecast again changes nothing, a different one is reported as a
    conflict. Raises UnknownTicker, CalendarError for a day that is not a session, and LedgerRefused when the session
    has not closed by the database's clock or when no ticker has features for it.
    """
    calendar.require_session(run_date)
    asked = {settings.require_ticker(ticker) for ticker in tickers}
    in_universe = [ticker for ticker in settings.tickers_on(run_date) if ticker in asked]
    conn.execute(query("registry.hold_files"))
    now = clock.now(conn)
    if now < calendar.closes_at(run_date):
        raise LedgerRefused(
            f"session {run_date} closes at {calendar.closes_at(run_date):%Y-%m-%d %H:%M} UTC and it is "
            f"{now:%Y-%m-%d %H:%M} UTC; take its snapshots afterwards"
        )
    windows = input_windows.read(conn, run_date, in_universe)
    if in_universe and not windows:
        raise LedgerRefused(
            f"no features were made for {run_date} ({', '.join(in_universe[:3])}{', ...' if in_universe[3:] else ''}); "
            "materialize features for that session first: a forecast cannot be put on record twice"
        )
    waiting: list[str] = []
    if simulation_id == NO_SIMULATION:
        entered = first_sessions(conn, in_universe)
        waiting = without_row(in_universe, run_date, entered, calendar=calendar, moment=now)
    in_universe = [ticker for ticker in in_universe if ticker not in waiting]
    in_use = forecasters(conn, in_universe, run_date, simulation_id=simulation_id, config=settings.forecast)
    record_configuration(conn, settings)  # it takes the chain's lock: no actual is filled before the rows are written
    networks = networks_of_daily_run(settings, folder, exports)
    drafts = draft_all(
        in_universe,
        run_date,
        windows,
        in_use,
        targets=calendar.targets(run_date),
        now=now,
        networks=networks,
        settings=settings,
        widths=half_widths(
            conn,
            in_use,
            run_date,
            simulation_id=simulation_id,
            moment=clock.now(conn),
            calendar=calendar,
            config=settings.intervals,
        ),
    )
    written = _insert(conn, drafts, simulation_id) if drafts else set[str]()
    baselines = NO_BASELINES
    if written:
        new = [draft for draft in drafts if draft.ticker in written]
        baselines = take_baselines(conn, new, windows, calendar=calendar, simulation_id=simulation_id)
    shadows = NO_SHADOWS
    if drafts and settings.forecast.shadows != "none":
        shadows = take_shadows(
            conn,
            run_date,
            in_universe,
            windows,
            targets=calendar.targets(run_date),
            now=now,
            folder=folder,
            settings=settings,
            simulation_id=simulation_id,
        )
    rows = on_record(conn, run_date, in_universe, simulation_id)
    return _report(run_date, drafts, written, rows, shadows, baselines, waiting, networks.notes)


def missing_rows(
    conn: Connection, cells: Sequence[tuple[str, date]], simulation_id: int = NO_SIMULATION
) -> list[tuple[str, date]]:
    """The tickers and run dates, of those given, that have no row of a daily run or of one simulation."""
    expected = {
        "tickers": [ticker for ticker, _ in cells],
        "run_dates": [day for _, day in cells],
        "simulation_id": simulation_id,
    }
    return [(ticker, day) for ticker, day in conn.execute(query("ledger.missing_rows"), expected)]


def _insert(conn: Connection, drafts: Sequence[Draft], simulation_id: int) -> set[str]:
    """Write the drafts that have no row yet; the database dates them and decides which ones are live."""
    columns = {field.name: [getattr(draft, field.name) for draft in drafts] for field in fields(Draft)}
    for same_for_all in ("run_date", "next_day_session", "next_monday_session", "one_month_session"):
        columns[same_for_all] = columns[same_for_all][0]
    parameters = {**columns, "simulation_id": simulation_id}
    try:
        return {ticker for (ticker,) in conn.execute(query("ledger.record_snapshots"), parameters)}
    except psycopg.IntegrityError as error:
        raise LedgerRefused(f"the ledger refuses the forecasts of {drafts[0].run_date}: {error}") from error


def on_record(
    conn: Connection, run_date: date, tickers: Sequence[str], simulation_id: int = NO_SIMULATION
) -> list[SnapshotRow]:
    """The rows of a run date, of daily runs or of one simulation, in the order of the tickers; some may have none."""
    with conn.cursor(row_factory=class_row(SnapshotRow)) as cursor:
        asked = {"run_date": run_date, "tickers": list(tickers), "simulation_id": simulation_id}
        return cursor.execute(query("ledger.snapshots"), asked).fetchall()


def _report(
    run_date: date,
    drafts: Sequence[Draft],
    written: set[str],
    rows: Sequence[SnapshotRow],
    shadows: TakenShadows,
    baselines: TakenBaselines,
    waiting: Sequence[str],
    backend_notes: Sequence[str],
) -> SnapshotReport:
    conflicts = [
        Conflict(ticker=draft.ticker, run_date=run_date, reason=difference)
        for draft, row in zip(drafts, rows, strict=True)
        if draft.ticker not in written and (difference := _difference(draft, row))
    ]
    refused = {conflict.ticker for conflict in conflicts}
    directions = [row.direction_pred for row in rows]
    forecasting = [row for row in rows if row.abstained_reason is None]
    return SnapshotReport(
        run_date=run_date,
        rows=tuple(rows),
        written=tuple(draft.ticker for draft in drafts if draft.ticker in written),
        unchanged=tuple(d.ticker for d in drafts if d.ticker not in written and d.ticker not in refused),
        conflicts=tuple(conflicts),
        num_bullish=directions.count("bullish"),
        num_neutral=directions.count("neutral"),
        num_bearish=directions.count("bearish"),
        num_abstained=directions.count(None),
        model_versions=tuple(sorted({row.model_name for row in forecasting})),
        not_in_service=tuple(waiting),
        num_shadows=shadows.num_shadows,
        shadow_notes=shadows.notes,
        num_with_baselines=baselines.num_rows,
        baseline_notes=baselines.notes,
        backend_notes=tuple(backend_notes),
    )


def _difference(draft: Draft, row: SnapshotRow) -> str | None:
    """The difference of a draft from the row on record, in words; None if forecast and inputs are the same."""
    names = [name for name in SAME_CAUSES if getattr(draft, name) != getattr(row, name)]
    names += [name for name in PREDICTIONS if not same_price(getattr(draft, name), getattr(row, name))]
    if not names:
        return None
    named = "; ".join(f"{name} {_short(getattr(row, name))}, now {_short(getattr(draft, name))}" for name in names)
    return f"the forecast of {row.ticker} on {row.run_date} is on record with {named}; the first one stays"


def same_price(one: float | None, other: float | None) -> bool:
    """True if two prices differ by no more than those of one network and window on two machines."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=SAME_PRICE)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 and " " not in text else text
