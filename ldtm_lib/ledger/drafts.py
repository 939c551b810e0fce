"""Drafts: the forecasts of a run date before they are on record; each ticker forecasts or abstains with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np

from ldtm_lib.errors import CheckpointRefused, LdtmError
from ldtm_lib.features.neutral_band import neutral_band
from ldtm_lib.features.scaling import unscale_prices
from ldtm_lib.features.stored_windows import StoredWindow
from ldtm_lib.features.windows import InputWindow, window_sha256
from ldtm_lib.ledger.backends import BackendOnRecord, NetworkInput, Networks
from ldtm_lib.ledger.forecasters import Forecaster
from ldtm_lib.ledger.intervals import Values, bounds_of, ends_of
from ldtm_lib.sessions import Targets
from ldtm_lib.settings import Settings

Direction = Literal["bullish", "neutral", "bearish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One row of the ledger as it is sent to the database; prices are in the currency of the bars."""

    ticker: str
    run_date: date
    next_day_session: date
    next_monday_session: date
    one_month_session: date
    run_date_close: float | None = None
    next_day_pred: float | None = None
    next_monday_pred: float | None = None
    one_month_pred: float | None = None
    direction_pred: Direction | None = None
    abstained_reason: str | None = None
    checkpoint_id: int | None = None
    model_version: str | None = None
    model_status: Literal["active", "retired", "candidate"] | None = None
    checkpoint_sha256: str | None = None
    window_sha256: str | None = None
    bars_recorded_until: datetime
    volatility: float | None = None
    """Volatility of the input window, per session: the unit of the intervals."""
    neutral_band: float | None = None
    """The predicted next-day return up to which the direction is neutral."""
    next_day_low_80: float | None = None
    next_day_high_80: float | None = None
    next_day_low_95: float | None = None
    next_day_high_95: float | None = None
    next_monday_low_80: float | None = None
    next_monday_high_80: float | None = None
    next_monday_low_95: float | None = None
    next_monday_high_95: float | None = None
    one_month_low_80: float | None = None
    one_month_high_80: float | None = None
    one_month_low_95: float | None = None
    one_month_high_95: float | None = None
    """The ends of the intervals; None if there is none, see `half_widths`."""
    backend: BackendOnRecord | None = None
    """Backend that computed the network; None for an abstention."""

    def interval(self, horizon: str, percent: int) -> tuple[float, float] | None:
        """The ends of the 80% or 95% interval of a horizon, if there is one."""
        return ends_of(self, horizon, percent)


def direction(next_day_pred: float, close: float, band: float) -> Direction:
    """The direction that a next-day price means: a return within the band, its edges included, is neutral."""
    expected_return = next_day_pred / close - 1
    if abs(expected_return) <= band:
        return "neutral"
    return "bullish" if expected_return > 0 else "bearish"


def draft_all(
    tickers: Sequence[str],
    run_date: date,
    windows: Mapping[str, StoredWindow],
    forecasters: Mapping[str, Forecaster],
    *,
    targets: Targets,
    now: datetime,
    networks: Networks,
    settings: Settings,
    widths: Mapping[str, Values] | None = None,
    neutral_bands: Mapping[str, float] | None = None,
) -> list[Draft]:
    """One draft per ticker, in their order; `networks` computes those that can forecast, all at once.

    `now` is the `bars_recorded_until` of a ticker that has no bar at all. `widths` are the half-widths of intervals,
    see `half_widths`; a ticker without any has no intervals. `neutral_bands` replace those of the settings.
    """
    obstacles = {t: o for t in tickers if (o := _obstacle(run_date, windows.get(t), forecasters.get(t)))}
    predicted = _predicted([forecasters[t] for t in tickers if t not in obstacles], windows, networks, obstacles)
    drafts: list[Draft] = []
    for ticker in tickers:
        stored, forecaster, pred = windows.get(ticker), forecasters.get(ticker), predicted.get(ticker)
        if pred is not None and not np.isfinite(pred.prices).all():
            obstacles[ticker] = f"has a forecast that is not finite: {', '.join(f'{p:g}' for p in pred.prices)}"
            pred = None
        close = stored.window.close if stored else None
        made = (
            {}
            if pred is None or stored is None
            else _made(ticker, pred, stored.window, widths, neutral_bands, settings)
        )
        drafts.append(
            Draft(
                ticker=ticker,
                run_date=run_date,
                next_day_session=targets.next_day,
                next_monday_session=targets.next_monday,
                one_month_session=targets.one_month,
                run_date_close=close,
                abstained_reason=obstacles.get(ticker),
                checkpoint_id=forecaster.checkpoint_id if forecaster and forecaster.in_time else None,
                model_version=forecaster.version if forecaster and forecaster.in_time else None,
                model_status=forecaster.status if forecaster and forecaster.in_time else None,
                checkpoint_sha256=forecaster.file_sha256 if forecaster and forecaster.in_time else None,
                window_sha256=stored.window.sha256 if stored else None,
                bars_recorded_until=(stored.bars_recorded_until if stored else None) or now,
                **made,
            )
        )
    return drafts


def _made(
    ticker: str,
    predicted: "_Predicted",
    window: InputWindow,
    widths: Mapping[str, Values] | None,
    neutral_bands: Mapping[str, float] | None,
    settings: Settings,
) -> dict[str, Any]:
    """The fields of a draft that only a forecast has."""
    volatility = window.volatility
    assert window.close is not None
    assert volatility is not None
    band = (neutral_bands or {}).get(ticker)
    if band is None:
        band = neutral_band(settings.forecast, volatility)
    next_day, next_monday, one_month = predicted.prices
    return {
        "next_day_pred": next_day,
        "next_monday_pred": next_monday,
        "one_month_pred": one_month,
        "direction_pred": direction(next_day, window.close, band),
        "volatility": volatility,
        "neutral_band": band,
        **bounds_of(predicted.prices, window.close, volatility, (widths or {}).get(ticker)),
        "backend": predicted.backend,
    }


def _obstacle(run_date: date, stored: StoredWindow | None, forecaster: Forecaster | None) -> str | None:
    if forecaster is None:
        return "has no active model"
    if not forecaster.in_time:
        return (
            f"has no model for this run date: {forecaster.version or forecaster.status} was trained on bars up to "
            f"{forecaster.trained_on}"
        )
    if stored is None:
        return f"has no features for {run_date}"
    return stored.window.not_ready or _altered(stored.window)


def _altered(window: InputWindow) -> str | None:
    """The reason to refuse a stored window whose bytes do not have the stored SHA-256; None if they have it."""
    assert window.inputs is not None
    assert window.close is not None
    assert window.close_min is not None
    assert window.close_max is not None
    found = window_sha256(window.inputs, window.close, window.close_min, window.close_max)
    return None if found == window.sha256 else f"has a stored window that was altered: its SHA-256 is {found}"


@dataclass(frozen=True, slots=True)
class _Predicted:
    prices: list[float]
    """Prices at the three horizons."""
    backend: BackendOnRecord


def _predicted(
    forecasters: Sequence[Forecaster],
    windows: Mapping[str, StoredWindow],
    networks: Networks,
    obstacles: dict[str, str],
) -> dict[str, _Predicted]:
    """The predicted prices by ticker; a network that cannot be computed is added to the obstacles."""
    asked: list[NetworkInput] = []
    for forecaster in forecasters:
        inputs = windows[forecaster.ticker].window.inputs
        assert inputs is not None
        asked.append(NetworkInput(checkpoint=forecaster, window=inputs))
    found: dict[str, _Predicted] = {}
    for ticker, outcome in networks.predict(asked).items():
        if isinstance(outcome, LdtmError):
            what = "checkpoint" if isinstance(outcome, CheckpointRefused) else "network"
            obstacles[ticker] = f"has a {what} that was refused: {outcome}"
            continue
        window = windows[ticker].window
        prices = unscale_prices(outcome.scaled[None], np.array([window.close_min]), np.array([window.close_max]))[0]
        found[ticker] = _Predicted(prices.tolist(), outcome.backend)
    return found
