"""Replay: compute a recorded forecast again from the data that were on record when it was made.

Its bars are the vintages recorded up to the row's `bars_recorded_until`, its network is the file with the SHA-256 that
the row names, and the code is the one that makes forecasts. Its intervals are made again from the outcomes that were on
record at its `recorded_at`; rows of version 1 of the record format have none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import CheckpointRefused, LdtmError, ReplayImpossible
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.neutral_band import neutral_band
from ldtm_lib.features.stored_windows import StoredWindow
from ldtm_lib.features.windows import InputWindow, latest_windows, window_sha256
from ldtm_lib.ledger.backends import (
    EngineNetworks,
    Found,
    NetworkInput,
    Networks,
    OnnxFromCheckpoints,
    TorchNetworks,
)
from ldtm_lib.ledger.drafts import Draft, draft_all
from ldtm_lib.ledger.forecasters import Forecaster, forecaster_on_record
from ldtm_lib.ledger.intervals import BOUNDS, Values, half_widths
from ldtm_lib.ledger.simulations import NO_SIMULATION
from ldtm_lib.ledger.snapshots import PREDICTIONS, SnapshotRow, on_record, same_price
from ldtm_lib.models.checkpoint import file_of, read_architecture
from ldtm_lib.prices.stored_bars import bars_as_of
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, Settings, WindowConfig
from ldtm_lib.wording import counted

RecordedValue = float | str | date | datetime | None

CAUSES = ("window_sha256", "run_date_close")
FORECAST_FIELDS = (*PREDICTIONS, "direction_pred", "abstained_reason", "model_version")
STORED = "stored_window"
INTERVALS_DIFFER = "with today's [intervals]"
TARGETS = ("next_day_session", "next_monday_session", "one_month_session")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldComparison:
    """One value of a row and the same value computed again."""

    what: str
    on_record: RecordedValue
    recomputed: RecordedValue
    is_same: bool
    """Prices within SAME_PRICE of each other are the same; everything else must be equal."""
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The result of computing one row of the ledger again."""

    row: SnapshotRow
    comparisons: tuple[FieldComparison, ...]
    left_out: str | None = None
    """The part of the row that cannot be computed again, with the reason."""

    @property
    def differences(self) -> tuple[FieldComparison, ...]:
        """The comparisons whose values differ."""
        return tuple(compared for compared in self.comparisons if not compared.is_same)

    @property
    def is_equal(self) -> bool:
        """True if every value that was computed again is the one on record."""
        return not self.differences

    @property
    def is_equal_to_the_bit(self) -> bool:
        """True if the prices are exactly the same floats as well."""
        return all(compared.on_record == compared.recomputed for compared in self.comparisons)

    def as_dict(self) -> dict[str, Any]:
        """The result as a dictionary for JSON."""
        row = self.row
        return {
            "ticker": row.ticker,
            "run_date": row.run_date,
            "kind": row.kind,
            "simulation_id": row.simulation_id,
            "recorded_at": row.recorded_at,
            "bars_recorded_until": row.bars_recorded_until,
            "model_version": row.model_version,
            "checkpoint_sha256": row.checkpoint_sha256,
            "backend": row.backend,
            "is_equal": self.is_equal,
            "is_equal_to_the_bit": self.is_equal_to_the_bit,
            "left_out": self.left_out,
            "comparisons": [asdict(compared) for compared in self.comparisons],
        }


def replay(
    conn: Connection,
    ticker: str,
    run_date: date,
    simulation_id: int = NO_SIMULATION,
    *,
    folder: Path,
    settings: Settings,
    calendar: Calendar,
    exports: Path | None = None,
) -> Replay:
    """Compute the row of a ticker and run date again and compare it with the row on record; writes nothing.

    `simulation_id` is 0 for the row of a daily run. `folder` holds the checkpoint files, `exports` the engines, which
    the rows of a TensorRT backend need. Whatever the settings are today, the backend of the row computes the network,
    the network has the architecture of its file, the window has as many sessions as the stored one, and the neutral
    band is that of the row. The warm-up and the intervals follow the settings, as does the neutral band of a row of
    version 1. For an abstention, the window is computed again, or the reason why there was none. Raises CalendarError
    for a day that is not a session, UnknownTicker, and ReplayImpossible if there is no such row or its checkpoint is
    missing or altered.
    """
    calendar.require_session(run_date)
    row = _row(conn, ticker, run_date, simulation_id, settings)
    stored = input_windows.read_shown(conn, run_date, ticker, sha256=row.window_sha256, until=row.recorded_at)
    window = window_again(conn, row, stored, settings.window, calendar)
    forecaster = None if row.abstained_reason is not None else _forecaster(conn, row)
    if forecaster is not None:
        settings = settings.replace(architecture=_architecture(row, folder, forecaster.file_name))
    networks = _NetworkOfRow(row, _networks(row, settings, folder, exports))
    (draft,) = draft_all(
        [ticker],
        run_date,
        {} if window is None else {ticker: StoredWindow(window=window, bars_recorded_until=row.bars_recorded_until)},
        {} if forecaster is None else {ticker: forecaster},
        targets=calendar.targets(run_date),
        now=row.bars_recorded_until,
        networks=networks,
        settings=settings,
        widths=_half_widths(conn, row, forecaster, settings, calendar),
        neutral_bands=None if row.neutral_band is None else {ticker: row.neutral_band},
    )
    found = [*_stored_compared(row, stored), *_drafts_compared(row, draft, compare_forecast=forecaster is not None)]
    remarks = {"window_sha256": _distance(stored, window), **dict.fromkeys(BOUNDS, INTERVALS_DIFFER)}
    if row.neutral_band is None:
        band = neutral_band(settings.forecast, window and window.volatility)
        remarks["direction_pred"] = f"with today's neutral_band of {band:g}"
    if row.window_sha256 is None and stored is not None and window is not None:
        found.append(_compared("not_ready", stored.window.not_ready, window.not_ready))
    return Replay(
        row=row,
        comparisons=tuple(c if c.is_same or c.remark else replace(c, remark=remarks.get(c.what)) for c in found),
        left_out=_left_out(row, window),
    )


def _row(conn: Connection, ticker: str, run_date: date, simulation_id: int, settings: Settings) -> SnapshotRow:
    rows = on_record(conn, run_date, [ticker], simulation_id)
    if rows:
        return rows[0]
    asked = {"ticker": ticker, "simulation_id": simulation_id}
    num_rows, first, last = conn.execute(query("ledger.run_dates_of"), asked).fetchone() or (0, 0, 0)
    by = f" by simulation {simulation_id}" if simulation_id else ""
    if not num_rows:
        settings.require_ticker(ticker)
        raise ReplayImpossible(f"{ticker} has no row{by} in the record; `ldtm forecasts` shows the recorded forecasts")
    raise ReplayImpossible(
        f"{ticker} has no row{by} for {run_date}; it has {counted(num_rows, 'row')}, {first} to {last}: name a run "
        "date of one of them"
    )


def window_again(
    conn: Connection,
    row: SnapshotRow,
    stored: StoredWindow | None,
    config: WindowConfig,
    calendar: Calendar,
    *,
    moment: datetime | None = None,
) -> InputWindow | None:
    """The window of a row, made again from the vintages that the row saw, or from those recorded until another moment.

    `stored` is the window that the row was computed from; the new one has the same length. None if the row has no
    window for a reason other than its bars.
    """
    moment = moment or row.bars_recorded_until
    if row.window_sha256 is None:
        if stored is None or stored.window.not_ready == input_windows.CHANGED_MEANWHILE:
            return None
        moment = stored.bars_recorded_until or moment
    if stored is not None and stored.window.inputs is not None:
        config = config.replace(window_sessions=len(stored.window.inputs))
    bars = bars_as_of(conn, [row.ticker], moment=moment, last=row.run_date)
    (window,) = latest_windows(bars, [row.ticker], row.run_date, calendar, config)
    return window


def _forecaster(conn: Connection, row: SnapshotRow) -> Forecaster:
    """The registry's entry of the checkpoint that a row names, which must have the row's ticker and SHA-256."""
    forecaster = None
    if row.checkpoint_id is not None:
        forecaster = forecaster_on_record(conn, row.checkpoint_id, row.run_date, simulation_id=row.simulation_id)
    if forecaster is None:
        raise _impossible(row, f"checkpoint {row.checkpoint_id} is not in the registry; restore a database backup")
    named, registered = (row.ticker, row.checkpoint_sha256), (forecaster.ticker, forecaster.file_sha256)
    if named != registered:
        raise _impossible(
            row,
            f"its row names the checkpoint {row.checkpoint_sha256} of {row.ticker}, and number {row.checkpoint_id} in "
            f"the registry is {forecaster.file_sha256} of {forecaster.ticker}: one of them was altered; compare both "
            "with a backup",
        )
    return replace(forecaster, version=None) if row.model_version is None else forecaster


def _half_widths(
    conn: Connection, row: SnapshotRow, forecaster: Forecaster | None, settings: Settings, calendar: Calendar
) -> dict[str, Values]:
    """Half-widths of the row's intervals, from the outcomes on record at its time; none for rows of version 1."""
    if forecaster is None or row.neutral_band is None:
        return {}
    return half_widths(
        conn,
        {row.ticker: forecaster},
        row.run_date,
        simulation_id=row.simulation_id,
        moment=row.recorded_at,
        calendar=calendar,
        config=settings.intervals,
    )


def _networks(row: SnapshotRow, settings: Settings, folder: Path, exports: Path | None) -> Networks:
    """The backend of a row; rows of versions 1 and 2 were computed by PyTorch."""
    match row.backend:
        case "torch" | None:
            return TorchNetworks(folder=folder, architecture=settings.architecture)
        case "onnx":
            return OnnxFromCheckpoints(folder=folder, window=settings.window)
        case "tensorrt" | "tensorrt-rtx":
            if exports is None:
                raise _impossible(row, f"it was computed by a {row.backend} engine, and no folder of engines was given")
            return EngineNetworks(folder=exports)


@dataclass(frozen=True, slots=True)
class _NetworkOfRow:
    """The network of a row: if it cannot be computed, there is nothing to compare."""

    row: SnapshotRow
    networks: Networks

    def predict(self, asked: Sequence[NetworkInput]) -> Found:
        """The predictions of the backend; raises ReplayImpossible for an error of the backend."""
        backend = self.row.backend or "torch"
        try:
            found = self.networks.predict(asked)
        except LdtmError as error:
            raise _impossible(self.row, f"it was computed by {backend}: {error}") from error
        for outcome in found.values():
            if isinstance(outcome, LdtmError):
                raise _impossible(self.row, f"it was computed by {backend}: {outcome}") from outcome
        return found


def _architecture(row: SnapshotRow, folder: Path, file_name: str) -> ArchitectureConfig:
    try:
        return read_architecture(file_of(folder, file_name), sha256=row.checkpoint_sha256 or "")
    except CheckpointRefused as refusal:
        raise _impossible(row, str(refusal)) from refusal


def _impossible(row: SnapshotRow, reason: str) -> ReplayImpossible:
    return ReplayImpossible(f"the forecast of {row.ticker} on {row.run_date} cannot be computed again: {reason}")


def _left_out(row: SnapshotRow, window: InputWindow | None) -> str | None:
    if row.abstained_reason is None:
        return None
    nothing = "there is no forecast to compute again" + ("" if window else ", and no window to make again")
    return f"{row.ticker} {row.abstained_reason}: {nothing}"


def _stored_compared(row: SnapshotRow, stored: StoredWindow | None) -> list[FieldComparison]:
    """The stored window compared with the row's values about it; an empty list for a row without a window."""
    if row.window_sha256 is None:
        return []
    if stored is None:
        missing = "no such window is stored"
        return [replace(_compared(STORED, row.window_sha256, None), remark=missing)]
    kept = _compared(STORED, row.window_sha256, _sha256_of(stored.window))
    return [
        kept if kept.is_same else replace(kept, remark="the stored window was altered"),
        _compared("bars_recorded_until", row.bars_recorded_until, stored.bars_recorded_until),
    ]


def _drafts_compared(row: SnapshotRow, draft: Draft, *, compare_forecast: bool) -> list[FieldComparison]:
    """The fields of a row compared with the fields of its draft, if either has a value."""
    names = (*CAUSES, *(FORECAST_FIELDS if compare_forecast else ()), *TARGETS)
    if row.neutral_band is not None:  # rows of version 1 have no interval
        names = (*names, "volatility", *BOUNDS)
    found = [_compared(name, getattr(row, name), getattr(draft, name)) for name in names]
    return [c for c in found if (c.on_record, c.recomputed) != (None, None)]


def _compared(what: str, on_record: RecordedValue, recomputed: RecordedValue) -> FieldComparison:
    is_same = on_record == recomputed
    if what in (*PREDICTIONS, *BOUNDS, "volatility") and isinstance(on_record, float) and isinstance(recomputed, float):
        is_same = same_price(on_record, recomputed)
    return FieldComparison(what=what, on_record=on_record, recomputed=recomputed, is_same=is_same)


def _sha256_of(window: InputWindow) -> str | None:
    if window.inputs is None or window.close is None or window.close_min is None or window.close_max is None:
        return None
    return window_sha256(window.inputs, window.close, window.close_min, window.close_max)


def _distance(stored: StoredWindow | None, again: InputWindow | None) -> str | None:
    """Differences of the inputs made again from the stored ones, if both have the same size."""
    old, new = stored and stored.window.inputs, again and again.inputs
    if old is None or new is None or old.shape != new.shape:
        return None
    apart = np.abs(old - new)
    num_apart = np.count_nonzero(apart)
    differ = "differs from the one" if num_apart == 1 else "differ from those"
    return f"{num_apart} of its {apart.size} inputs {differ} stored, by up to {apart.max():.1g}"
