"""Evidence shown with the gate's rules: confidence intervals, and the results that chance alone would give."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldtm_lib.backtest.walk_forward import FoldReport, Prices
from ldtm_lib.features.neutral_band import neutral_bands
from ldtm_lib.sessions import HORIZONS, Sessions
from ldtm_lib.settings import ForecastConfig, GateConfig
from ldtm_lib.statistics.diebold_mariano import compare
from ldtm_lib.statistics.directions import calls_of, coin_passes, coin_reaches, timing
from ldtm_lib.statistics.overlap import effective_directions, effective_moves, spans_of
from ldtm_lib.statistics.wilson import wilson_interval

NEXT_DAY = HORIZONS.index("next_day")
HORIZON_WORDS = {"next_day": "next-day", "next_monday": "next-Monday", "one_month": "one-month"}
LARGEST_PRICE = float(np.finfo(np.float32).max)
"""The largest float32. Networks compute in float32, so a forecast beyond it is not a finite price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonEvidence:
    """Price errors of one horizon and those of the no-change forecast, all as fractions of the actual price."""

    horizon: str
    num_forecasts: int
    """Test rows with a finite forecast of this horizon."""
    effective_days: float
    """Number of non-overlapping forecasts that carry the same information."""
    mean_error: float | None
    """Mean absolute error; None without a forecast."""
    no_change_error: float | None
    relative_error: float | None
    """Mean error divided by that of no change, below 1 is better; None without a forecast or if no price changed."""
    dm_statistic: float | None
    """Statistic of Diebold and Mariano, above 0 if the forecast is better; None if it is not defined."""
    p_better: float
    """Chance that an equally good forecast beats no change by at least as much; 1 if nothing can be concluded."""
    p_worse: float
    """Chance that an equally good forecast loses to it by at least as much; 1 if nothing can be concluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Evidence from one candidate's backtest, over all folds. `num_test_rows` alone counts rows without a finite
    forecast.
    """

    num_test_rows: int
    neutral_band: float
    """The setting: the next-day return, as a fraction, within which a forecast named no direction."""
    num_directional: int
    """Next-day forecasts that name a direction; the fields from here to `horizons` cover only those."""
    num_correct: int
    accuracy: float | None
    """Share of right calls; None if no direction was named, as are its interval and the shares of constant calls."""
    effective_days: float
    """Number of independent days that carry the same information: the number of directions, unless days were tested
    twice."""
    accuracy_low: float | None
    accuracy_high: float | None
    """Ends of the accuracy's 95% interval (Wilson)."""
    num_rises: int
    """Number of days on which a direction was named and the price rose."""
    base_rate: float | None
    """Share of the days with a direction on which always saying up would have been right."""
    best_constant: float | None
    """Share of these days on which the best constant direction would have been right."""
    pesaran_timmermann: float | None
    timing_p: float
    """Chance that calls without skill agree with the outcomes as well; 1 if only one direction was called or came."""
    coin_p: float
    """Exact chance that a fair coin is right at least as often."""
    coin_passes: float
    """Exact chance that a fair coin with as many calls meets the gate's bound on direction accuracy."""
    horizons: tuple[HorizonEvidence, ...]
    neutral_band_volatilities: float | None = None
    """The setting that replaces the fixed band by a multiple of each window's volatility; None with the fixed band."""

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return dataclasses.asdict(self)

    def of_horizon(self, horizon: str) -> HorizonEvidence | None:
        """The evidence of one horizon; None if it was never compared."""
        return next((shown for shown in self.horizons if shown.horizon == horizon), None)


def evidence_from(fields: Mapping[str, object]) -> Evidence:
    """Parse evidence from JSON."""
    horizons: Sequence[Mapping[str, object]] = fields["horizons"]  # pyright: ignore[reportAssignmentType]
    parsed = {**fields, "horizons": tuple(HorizonEvidence(**shown) for shown in horizons)}  # pyright: ignore[reportArgumentType]
    return Evidence(**parsed)  # pyright: ignore[reportArgumentType]


def evidence_of(reports: Sequence[FoldReport], gate: GateConfig, forecast: ForecastConfig) -> Evidence:
    """The evidence from one candidate's backtest, with the test rows of all folds pooled.

    `forecast` has the neutral band, within which a forecast names no direction.
    """
    sessions = np.concatenate([np.empty(0, dtype="datetime64[D]"), *(report.sessions for report in reports)])
    order = np.argsort(sessions, kind="stable")
    sessions = sessions[order]
    close = np.concatenate([np.empty(0), *(report.close for report in reports)])[order]
    bands = np.concatenate([np.empty(0), *(neutral_bands(forecast, report.volatility) for report in reports)])[order]
    predictions = np.concatenate([np.empty((0, len(HORIZONS))), *(report.predictions for report in reports)])[order]
    actuals = np.concatenate([np.empty((0, len(HORIZONS))), *(report.actuals for report in reports)])[order]

    usable = np.abs(predictions[:, NEXT_DAY]) <= LARGEST_PRICE
    calls = calls_of(close[usable], predictions[usable, NEXT_DAY], actuals[usable, NEXT_DAY], bands[usable])
    num_directional, num_correct = calls.num_directional, calls.num_correct
    num_rises, num_falls = int(np.count_nonzero(calls.rose)), int(np.count_nonzero(calls.fell))
    effective_days = effective_directions(spans_of(sessions, "next_day")[usable][calls.directional])
    accuracy = num_correct / num_directional if num_directional else None
    interval = None if accuracy is None else wilson_interval(accuracy, effective_days)
    timed = timing(calls)
    return Evidence(
        num_test_rows=len(sessions),
        neutral_band=forecast.neutral_band,
        neutral_band_volatilities=forecast.neutral_band_volatilities,
        num_directional=num_directional,
        num_correct=num_correct,
        accuracy=accuracy,
        effective_days=effective_days,
        accuracy_low=interval and interval.low,
        accuracy_high=interval and interval.high,
        num_rises=num_rises,
        base_rate=num_rises / num_directional if num_directional else None,
        best_constant=max(num_rises, num_falls) / num_directional if num_directional else None,
        pesaran_timmermann=timed.statistic,
        timing_p=timed.p,
        coin_p=coin_reaches(num_correct, num_directional),
        coin_passes=coin_passes(num_directional, gate.min_direction_accuracy),
        horizons=tuple(
            _horizon(horizon, sessions, close, predictions[:, column], actuals[:, column])
            for column, horizon in enumerate(HORIZONS)
        ),
    )


def _horizon(horizon: str, sessions: Sessions, close: Prices, predicted: Prices, actual: Prices) -> HorizonEvidence:
    usable = np.abs(predicted) <= LARGEST_PRICE
    num_forecasts = int(np.count_nonzero(usable))
    came = actual[usable]
    errors = np.abs(predicted[usable] - came) / came
    no_change_errors = np.abs(close[usable] - came) / came
    compared = compare(errors, no_change_errors)
    mean_error = float(np.mean(errors)) if num_forecasts else None
    no_change_error = float(np.mean(no_change_errors)) if num_forecasts else None
    return HorizonEvidence(
        horizon=horizon,
        num_forecasts=num_forecasts,
        effective_days=effective_moves(spans_of(sessions, horizon)[usable]),
        mean_error=mean_error,
        no_change_error=no_change_error,
        relative_error=mean_error / no_change_error if mean_error is not None and no_change_error else None,
        dm_statistic=compared.statistic,
        p_better=compared.p_better,
        p_worse=compared.p_worse,
    )
