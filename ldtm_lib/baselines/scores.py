"""Scores of a network and of its baselines on the same rows, and which baseline is better than the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from ldtm_lib.baselines.fit import FittedBaselines
from ldtm_lib.baselines.forecast import BASELINES, Baseline, BaselineRows, forecast_baselines
from ldtm_lib.features.scaling import Float64s
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.sessions import HORIZONS, Calendar
from ldtm_lib.statistics.wilson import Interval, wilson_interval

Model = Literal["network", "no_change"] | Baseline
MODELS: tuple[Model, ...] = ("network", "no_change", *BASELINES)
NAMES: Mapping[Model, str] = {
    "network": "network",
    "no_change": "no change",
    "drift": "drift",
    "ar1": "AR(1)",
    "ridge": "ridge",
}
Figure = Literal["next day", "next Monday", "one month", "direction"]
PRICE_FIGURES: tuple[Figure, ...] = ("next day", "next Monday", "one month")
"""The price errors, in the order of HORIZONS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScore:
    """The score of one model on some rows; errors are mean absolute errors in percent, None without a row."""

    model: Model
    num_next_day: int
    next_day_error: float | None
    num_next_monday: int
    next_monday_error: float | None
    num_one_month: int
    one_month_error: float | None
    num_directional: int
    """Rows for which the model named a direction."""
    num_correct: int
    num_up: int
    """Number of those rows whose next-day close is higher."""
    num_down: int

    @property
    def errors(self) -> tuple[float | None, ...]:
        """The errors in the order of HORIZONS."""
        return self.next_day_error, self.next_monday_error, self.one_month_error

    @property
    def direction_accuracy(self) -> float | None:
        """Share of the directions that were right; None if the model named none."""
        return self.num_correct / self.num_directional if self.num_directional else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BestConstant:
    """Always up or always down, whichever was right more often: a bound in hindsight, not a forecast."""

    direction: Literal["up", "down"]
    num_directional: int
    """Rows for which the network named a direction."""
    num_correct: int

    @property
    def direction_accuracy(self) -> float | None:
        """Share of the rows on which the constant was right; None without a row."""
        return self.num_correct / self.num_directional if self.num_directional else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A network and its baselines on the same rows, of one ticker or of the universe."""

    ticker: str | None
    """None for the universe: the rows of all tickers pooled."""
    first_session: date
    last_session: date
    network: ModelScore
    baselines: tuple[ModelScore, ...]
    """In the order of MODELS, without the network."""

    @property
    def best_constant(self) -> BestConstant:
        """The best constant direction on the rows for which the network named a direction."""
        network = self.network
        return BestConstant(
            direction="up" if network.num_up >= network.num_down else "down",
            num_directional=network.num_directional,
            num_correct=max(network.num_up, network.num_down),
        )

    def better_than_network(self, score: ModelScore | BestConstant) -> tuple[Figure, ...]:
        """The figures in which a baseline is better than the network: a smaller error, or more right directions."""
        better: list[Figure] = []
        if isinstance(score, ModelScore):
            for name, ours, theirs in zip(PRICE_FIGURES, self.network.errors, score.errors, strict=True):
                if ours is not None and theirs is not None and theirs < ours:
                    better.append(name)
        ours, theirs = self.network.direction_accuracy, score.direction_accuracy
        if ours is not None and theirs is not None and theirs > ours:
            better.append("direction")
        return tuple(better)

    @property
    def verdict(self) -> str:
        """One sentence about the price errors: at which horizons some baseline has a smaller one."""
        shares: list[str] = []
        for place, horizon in enumerate(PRICE_FIGURES):
            ours = self.network.errors[place]
            theirs = [(error, NAMES[s.model]) for s in self.baselines if (error := s.errors[place]) is not None]
            if ours is None or not theirs:
                continue
            error, name = min(theirs)
            if error < ours:
                shares.append(f"{horizon} ({name})")
        if not shares:
            return "No baseline has a smaller price error than the network."
        return f"A baseline has a smaller price error than the network: {', '.join(shares)}."


def accuracy_interval(score: ModelScore | BestConstant) -> Interval | None:
    """The 95% Wilson interval of the direction accuracy; None if no direction was named."""
    accuracy = score.direction_accuracy
    return None if accuracy is None else wilson_interval(accuracy, score.num_directional)


def score_forecasts(
    model: Model, close_n: Float64s, predictions_nH: Float64s, actuals_nH: Float64s, band_n: Float64s
) -> ModelScore:
    """The score of forecasts (n, 3) whose actuals are all known.

    A next-day return within its neutral band (n,), a fraction of the close, is neutral and names no direction. A close
    that did not move makes any direction wrong, as in the ledger.
    """
    errors_H = np.abs((predictions_nH - actuals_nH) / actuals_nH * 100).mean(axis=0)
    returns_n = predictions_nH[:, 0] / close_n - 1
    is_directional_n = np.abs(returns_n) > band_n
    moves_n = np.sign(actuals_nH[:, 0] - close_n)
    return ModelScore(
        model=model,
        num_next_day=len(close_n),
        next_day_error=float(errors_H[0]),
        num_next_monday=len(close_n),
        next_monday_error=float(errors_H[1]),
        num_one_month=len(close_n),
        one_month_error=float(errors_H[2]),
        num_directional=int(is_directional_n.sum()),
        num_correct=int((is_directional_n & (np.sign(returns_n) == moves_n)).sum()),
        num_up=int((is_directional_n & (moves_n > 0)).sum()),
        num_down=int((is_directional_n & (moves_n < 0)).sum()),
    )


def score_fold(
    fitted: FittedBaselines,
    windows: WindowSet,
    test_rows: Rows,
    network_predictions_nH: Float64s,
    *,
    calendar: Calendar,
    band_n: Float64s,
) -> tuple[ModelScore, ...]:
    """The scores of a network and of its baselines on the test rows of one fold, in the order of MODELS.

    `band_n` (n,) are the neutral bands of the rows.
    """
    close_n = windows.close[test_rows]
    rows = BaselineRows(
        inputs_NTI=windows.gather(test_rows),
        close_N=close_n,
        close_min_N=windows.close_min[test_rows],
        close_max_N=windows.close_max[test_rows],
        num_sessions_NH=calendar.num_sessions(windows.sessions[test_rows], windows.target_sessions[test_rows]),
    )
    predictions: dict[Model, Float64s] = {
        "network": network_predictions_nH,
        "no_change": np.repeat(close_n[:, None], len(HORIZONS), axis=1),
        **forecast_baselines([fitted], rows),
    }
    actuals_nH = windows.target_prices[test_rows]
    return tuple(score_forecasts(model, close_n, predictions[model], actuals_nH, band_n) for model in MODELS)
