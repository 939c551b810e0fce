"""The four rules that stand between a candidate and active status, each with its figure, its bound and its reason."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldtm_lib.backtest.walk_forward import FoldReport, Prices
from ldtm_lib.config import GateConfig
from ldtm_lib.sessions import HORIZONS

NEXT_DAY = HORIZONS.index("next_day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, applied."""

    rule: str
    figure: float | None
    """What was measured; None where nothing could be."""
    bound: float | None
    passed: bool
    reason: str
    """The figure against the bound in words, whether it passed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says about one candidate, rule by rule."""

    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule passed; a verdict without rules has not."""
        return bool(self.rules) and all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[Rule, ...]:
        """The rules that failed."""
        return tuple(rule for rule in self.rules if not rule.passed)


def judge(reports: Sequence[FoldReport], gate: GateConfig, neutral_band: float) -> Verdict:
    """Apply the four rules to the folds of one candidate's backtest, all of their test rows taken together.

    `neutral_band` is the next-day return, as a fraction, within which a forecast names no direction.
    """
    close = np.concatenate([np.empty(0), *(report.close for report in reports)])
    predicted = np.concatenate([np.empty(0), *(report.predictions[:, NEXT_DAY] for report in reports)])
    actual = np.concatenate([np.empty(0), *(report.actuals[:, NEXT_DAY] for report in reports)])
    return Verdict(
        rules=(
            _direction_accuracy(close, predicted, actual, gate.min_direction_accuracy, neutral_band),
            _price_error(predicted, actual, gate.max_price_error),
            _leakage(reports, gate.max_leakage_rows),
            _folds(reports, gate.min_folds),
        )
    )


def refusal(rule: str, reason: str) -> Verdict:
    """The verdict on a ticker that the four rules cannot be applied to."""
    return Verdict(rules=(Rule(rule=rule, figure=None, bound=None, passed=False, reason=reason),))


def not_trained(ticker: str, reason: str) -> Verdict:
    """The verdict on a ticker that has no candidate."""
    return refusal("trained", f"{ticker} was not trained: {reason}")


def _direction_accuracy(close: Prices, predicted: Prices, actual: Prices, bound: float, neutral_band: float) -> Rule:
    """How often a forecast that named a direction was right. A neutral one abstains; an unchanged price makes
    any direction wrong.
    """
    expected = predicted / close - 1
    directional = np.abs(expected) > neutral_band
    num_directional = int(np.count_nonzero(directional))
    if not num_directional:
        reason = (
            f"none of {len(close)} next-day forecasts names a direction, at least {bound:.2%} of them must be right"
        )
        return Rule(rule="direction_accuracy", figure=None, bound=bound, passed=False, reason=reason)
    num_correct = int(np.count_nonzero(np.sign(expected[directional]) == np.sign(actual - close)[directional]))
    figure = num_correct / num_directional
    return Rule(
        rule="direction_accuracy",
        figure=figure,
        bound=bound,
        passed=figure >= bound,
        reason=f"next-day direction right in {num_correct} of {num_directional} forecasts that name one: "
        f"{figure:.2%}, at least {bound:.2%} are needed",
    )


def _price_error(predicted: Prices, actual: Prices, bound: float) -> Rule:
    """The mean absolute next-day price error as a fraction of the price that came."""
    if not len(actual):
        reason = f"no forecast was tested, a mean next-day price error of at most {bound:.2%} must be shown"
        return Rule(rule="price_error", figure=None, bound=bound, passed=False, reason=reason)
    figure = float(np.mean(np.abs(predicted - actual) / actual))
    if not np.isfinite(figure):
        num_broken = int(np.count_nonzero(~np.isfinite(predicted)))
        reason = f"{num_broken} of {len(actual)} next-day forecasts are no finite price"
        return Rule(rule="price_error", figure=None, bound=bound, passed=False, reason=reason)
    return Rule(
        rule="price_error",
        figure=figure,
        bound=bound,
        passed=figure <= bound,
        reason=f"mean next-day price error {figure:.2%} over {len(actual)} forecasts, at most {bound:.2%} is allowed",
    )


def _leakage(reports: Sequence[FoldReport], bound: int) -> Rule:
    figure = sum(report.num_leakage_rows for report in reports)
    return Rule(
        rule="leakage_rows",
        figure=figure,
        bound=bound,
        passed=figure <= bound,
        reason=f"{figure} test rows are not strictly after what training read, at most {bound} are allowed",
    )


def _folds(reports: Sequence[FoldReport], bound: int) -> Rule:
    figure = len(reports)
    return Rule(
        rule="folds",
        figure=figure,
        bound=bound,
        passed=figure >= bound,
        reason=f"{figure} walk-forward folds were tested, at least {bound} are needed",
    )
