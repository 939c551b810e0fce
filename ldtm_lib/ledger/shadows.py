"""Shadow forecasts of models that are not in use, stored next to the record and never counted.

A ticker whose candidate failed at the gate abstains, and its shadow shows what the refused candidate would have
forecast; the shadow of a model that retired shows whether its successor does any better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.rows import class_row, dict_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.features.stored_windows import StoredWindow
from ldtm_lib.ledger.backends import TorchNetworks
from ldtm_lib.ledger.drafts import Draft, draft_all
from ldtm_lib.ledger.forecasters import Forecaster
from ldtm_lib.ledger.leaderboard import Score
from ldtm_lib.ledger.simulations import LIVE, RowKind
from ldtm_lib.sessions import Targets
from ldtm_lib.settings import Settings, Shadows

STATUSES: Mapping[Shadows, tuple[Literal["candidate", "retired"], ...]] = {
    "none": (),
    "candidate": ("candidate",),
    "retired": ("retired",),
    "both": ("candidate", "retired"),
}
COLUMNS = (
    *("ticker", "checkpoint_id", "model_status", "run_date_close", "next_day_pred", "next_monday_pred"),
    *("one_month_pred", "direction_pred", "window_sha256", "bars_recorded_until"),
)
"""Fields of a draft that a shadow has as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowForecaster(Forecaster):
    """A checkpoint that is not in use and makes a shadow forecast."""

    is_removed: bool
    """True if its file was removed because it was not needed any more."""
    window_sha256: str | None
    """SHA-256 of the window of the row that the shadow would belong to."""
    bars_recorded_until: datetime
    """`bars_recorded_until` of the same row."""

    def obstacle(self, stored: StoredWindow | None) -> str | None:
        """Reason why it cannot forecast from a window, found before its file is opened."""
        if self.is_removed:
            return "has a file that was removed"
        if stored is None:
            return None  # the draft gives the same reason as the row
        if self.window_sha256 != stored.window.sha256 or (
            stored.window.sha256 is not None and self.bars_recorded_until != stored.bars_recorded_until
        ):
            return "cannot be forecast any more: the row on record has another window or none"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenShadows:
    """The shadow forecasts of one run date."""

    num_shadows: int
    """Shadows of the selected models that the rows of that day have now."""
    notes: tuple[str, ...]
    """Reasons why selected models have no shadow, one line each."""


NO_SHADOWS = TakenShadows(num_shadows=0, notes=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecord:
    """Results of all shadows of one checkpoint. They count nowhere else."""

    ticker: str
    checkpoint_id: int
    status: Literal["active", "retired", "candidate"]
    """Status in the registry now: a candidate may have been promoted since."""
    version: str | None
    file_sha256: str
    trained_on: date
    num_shadows: int
    """Number of shadows, filled or not."""
    score: Score
    """Score by the actual on record if the row of a shadow has one, otherwise by the current bars."""
    num_beside: int
    """Filled run dates on which another model's forecast is on record; the two errors below are over these."""
    error_beside: float | None
    """Mean absolute next-day error of the shadows, in percent."""
    error_on_record: float | None
    """The same error of the forecasts on record, which for live rows are the active model's."""

    @property
    def name(self) -> str:
        """Its version, or the first digits of its content's SHA-256."""
        return self.version or self.file_sha256[:8]


def take_shadows(
    conn: Connection,
    run_date: date,
    tickers: Sequence[str],
    windows: Mapping[str, StoredWindow],
    *,
    targets: Targets,
    now: datetime,
    folder: Path,
    settings: Settings,
    simulation_id: int,
) -> TakenShadows:
    """Forecast with the models that `settings.forecast.shadows` selects, for tickers that have a row of the run date.

    `windows` are those that the rows were forecast from. A model that cannot forecast leaves a note instead of a
    shadow; it never prevents the rows of that day. Shadows on record stay as they are: repeating a day adds nothing.
    """
    with conn.cursor(row_factory=class_row(ShadowForecaster)) as cursor:
        forecasters = cursor.execute(
            query("ledger.shadow_forecasters"),
            {
                "tickers": list(tickers),
                "run_date": run_date,
                "simulation_id": simulation_id,
                "statuses": list(STATUSES[settings.forecast.shadows]),
            },
        ).fetchall()
    obstacles = [(forecaster, forecaster.obstacle(windows.get(forecaster.ticker))) for forecaster in forecasters]
    notes = [_note(forecaster, obstacle) for forecaster, obstacle in obstacles if obstacle]
    drafts: list[Draft] = []
    networks = TorchNetworks(folder=folder, architecture=settings.architecture)
    for status in STATUSES[settings.forecast.shadows]:
        asked = {s.ticker: s for s, obstacle in obstacles if s.status == status and not obstacle}
        for draft in draft_all(
            list(asked), run_date, windows, asked, targets=targets, now=now, networks=networks, settings=settings
        ):
            if draft.abstained_reason is None:
                drafts.append(draft)
            else:
                notes.append(_note(asked[draft.ticker], draft.abstained_reason))
    return _record(conn, run_date, simulation_id, drafts, notes)


def shadow_records(conn: Connection, rows: RowKind = LIVE) -> list[ShadowRecord]:
    """The record of every checkpoint that has shadows, by ticker, the newest checkpoint first.

    Only shadows of live rows count, or of those of a simulation. A shadow of a live row is left out if it was recorded
    after the first target session opened.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query("ledger.shadow_records"), rows.parameters).fetchall()
    of_score = {field.name for field in fields(Score)}
    return [
        ShadowRecord(
            score=Score(**{name: row[name] for name in of_score}),
            **{name: value for name, value in row.items() if name not in of_score},
        )
        for row in found
    ]


def _record(
    conn: Connection, run_date: date, simulation_id: int, drafts: Sequence[Draft], notes: Sequence[str]
) -> TakenShadows:
    """Write the shadows that are not on record yet, in a savepoint so that a failure does not affect that day's rows.

    When the connection is lost, which loses the rows as well, psycopg's error is raised.
    """
    columns = {name: [getattr(draft, name) for draft in drafts] for name in COLUMNS}
    parameters = {**columns, "run_date": run_date, "simulation_id": simulation_id}
    try:
        with conn.transaction():
            conn.execute(query("ledger.record_shadows"), parameters)
    except psycopg.Error as error:
        if conn.closed:
            raise
        return TakenShadows(num_shadows=0, notes=(*notes, f"the database refuses the shadows of {run_date}: {error}"))
    return TakenShadows(num_shadows=len(drafts), notes=tuple(notes))


def _note(forecaster: ShadowForecaster, obstacle: str) -> str:
    name = f"{forecaster.status} {forecaster.version or forecaster.file_sha256[:8]}"
    return f"{forecaster.ticker} has no shadow of the {name}: {forecaster.ticker} {obstacle}"
