"""Forecasts from the newest stored bars that are not recorded, by any backend."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LdtmError
from ldtm_lib.features.neutral_band import neutral_band
from ldtm_lib.features.scaling import unscale_prices
from ldtm_lib.features.windows import InputWindow, latest_windows
from ldtm_lib.ledger.backends import BackendOnRecord, NetworkInput, Prediction, networks_of
from ldtm_lib.ledger.drafts import Direction, direction
from ldtm_lib.prices.stored_bars import recent_bars
from ldtm_lib.project import Project
from ldtm_lib.registry.exports import ActiveFile, active_files, export_folder
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One forecast that is not on record; prices are in the currency of the bars."""

    ticker: str
    run_date: date
    close: float
    prices: tuple[float, float, float]
    """Next day, next Monday, one month."""
    direction: Direction
    version: str
    backend: BackendOnRecord

    def as_dict(self) -> dict[str, object]:
        """The forecast for JSON."""
        return asdict(self)


def previews(
    project: Project, calendar: Calendar, tickers: Sequence[str], *, backend: Backend
) -> tuple[list[Preview], Mapping[str, str]]:
    """The forecasts of some tickers from their newest windows, and the reasons by ticker where there is none.

    Unlike in a daily run, PyTorch does not replace an export that cannot be used. Raises EngineRefused if there is no
    GPU for an engine.
    """
    settings = project.settings
    num_bars = settings.window.window_sessions + settings.window.warmup_bars
    with project.database.transaction() as conn:
        conn.execute(query("registry.hold_files"))
        active = {each.ticker: each for each in active_files(conn, tickers)}
        bars = recent_bars(conn, tickers, last=last_closed_session(conn), num_bars=num_bars)
        newest = dict(bars.group_by("ticker").agg(pl.col("session").max()).iter_rows())
        found: list[Preview] = []
        missing: dict[str, str] = {}
        windows: dict[str, InputWindow] = {}
        asked: list[NetworkInput] = []
        for ticker in tickers:
            if ticker not in active or ticker not in newest:
                missing[ticker] = "has no active model" if ticker not in active else "has no stored bars"
                continue
            [window] = latest_windows(
                bars.filter(pl.col("ticker") == ticker), [ticker], newest[ticker], calendar, settings.window
            )
            if window.inputs is None:
                missing[ticker] = str(window.not_ready)
                continue
            windows[ticker] = window
            asked.append(NetworkInput(checkpoint=active[ticker], window=window.inputs))
        networks = networks_of(
            backend,
            folder=project.checkpoint_folder,
            exports=export_folder(project),
            architecture=settings.architecture,
        )
        predicted = networks.predict(asked)
        for ticker in windows:
            outcome = predicted[ticker]
            if isinstance(outcome, LdtmError):
                missing[ticker] = f"is refused: {outcome}"
            else:
                found.append(_preview(windows[ticker], outcome, active[ticker], project))
    return found, missing


def _preview(window: InputWindow, prediction: Prediction, active: ActiveFile, project: Project) -> Preview:
    assert window.close is not None
    next_day, next_monday, one_month = unscale_prices(
        prediction.scaled[None], np.array([window.close_min]), np.array([window.close_max])
    )[0].tolist()
    band = neutral_band(project.settings.forecast, window.volatility)
    return Preview(
        ticker=window.ticker,
        run_date=window.session,
        close=window.close,
        prices=(next_day, next_monday, one_month),
        direction=direction(next_day, window.close, band),
        version=active.version,
        backend=prediction.backend,
    )
