"""The rules that a candidate must pass to become active, each with its figure, its bound and its reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ldtm_lib.backtest.walk_forward import NO_LEAKS, FoldReport, Prices
from ldtm_lib.features.neutral_band import neutral_bands
from ldtm_lib.gate.comparison import ActiveModel, not_worse_than_active
from ldtm_lib.gate.evidence import NEXT_DAY, evidence_of
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.strict import strict_rules
from ldtm_lib.gate.verdict import Rule, Verdict
from ldtm_lib.settings import ForecastConfig, GateConfig
from ldtm_lib.statistics.directions import Calls, calls_of

SPECIFIED = ("direction_accuracy", "price_error", "leakage_rows", "folds")
"""The four rules that the gate has had from the beginning; the plain gate has further ones."""
NO_DIRECTION = "no next-day forecast names a direction"


def judge(
    reports: Sequence[FoldReport],
    gate: GateConfig,
    forecast: ForecastConfig,
    *,
    other_leaks: Mapping[str, int] = NO_LEAKS,
) -> Verdict:
    """Apply the plain gate to one candidate's backtest, with the test rows of all folds pooled.

    `forecast` has the neutral band, within which a forecast names no direction. `other_leaks` are the numbers of
    leaking rows found outside of the folds, by kind. Evidence is attached if anything was tested; it does not change
    the rules.
    """
    close = np.concatenate([np.empty(0), *(report.close for report in reports)])
    predicted = np.concatenate([np.empty(0), *(report.predictions[:, NEXT_DAY] for report in reports)])
    actual = np.concatenate([np.empty(0), *(report.actuals[:, NEXT_DAY] for report in reports)])
    bands = np.concatenate([np.empty(0), *(neutral_bands(forecast, report.volatility) for report in reports)])
    calls = calls_of(close, predicted, actual, bands)
    return Verdict(
        rules=(
            _direction_accuracy(calls, gate.min_direction_accuracy),
            _price_error(predicted, actual, gate.max_price_error),
            _leakage(reports, other_leaks, gate.max_leakage_rows),
            _folds(reports, gate.min_folds),
            _directional_calls(calls, gate.min_directional_calls),
            _call_coverage(calls, gate.min_call_coverage),
            _fold_sessions(reports, gate.min_fold_sessions),
            _best_constant(calls, gate.min_lead_over_constant),
        ),
        evidence=evidence_of(reports, gate, forecast) if len(close) else None,
    )


def confirm(
    verdict: Verdict,
    multiple_testing: MultipleTesting | None,
    gate: GateConfig,
    forecast: ForecastConfig,
    *,
    reports: Sequence[FoldReport] = (),
    active: ActiveModel | None = None,
) -> Verdict:
    """Complete a verdict of `judge` with its multiple-testing figures; the result decides on a promotion.

    If the ticker has an active model, a further rule compares the candidate's `reports` with it. With `gate.strict`
    the rules of the strict gate are added.
    """
    stricter = strict_rules(verdict.evidence, multiple_testing, gate)
    compared = () if active is None else (not_worse_than_active(reports, active, stricter, gate, forecast),)
    return replace(
        verdict,
        rules=(*verdict.rules, *compared, *(stricter if gate.strict else ())),
        multiple_testing=multiple_testing,
    )


def refusal(rule: str, reason: str) -> Verdict:
    """The verdict on a ticker to which the rules cannot be applied."""
    return Verdict(rules=(Rule(rule=rule, figure=None, bound=None, passed=False, reason=reason),))


def not_trained(ticker: str, reason: str) -> Verdict:
    """The verdict on a ticker that has no candidate."""
    return refusal("trained", f"{ticker} was not trained: {reason}")


def _at_least(rule: str, figure: float, bound: float, reason: str) -> Rule:
    """A rule that passes if the figure reaches the bound."""
    return Rule(rule=rule, figure=figure, bound=bound, passed=figure >= bound, reason=reason)


def _direction_accuracy(calls: Calls, bound: float) -> Rule:
    """The share of right calls. A neutral forecast is not a call; an unchanged price makes any direction wrong."""
    num_directional, num_correct = calls.num_directional, calls.num_correct
    if not num_directional:
        reason = (
            f"none of {len(calls.directional)} next-day forecasts names a direction, and at least {bound:.2%} of the "
            "directions named must be right"
        )
        return Rule(rule="direction_accuracy", figure=None, bound=bound, passed=False, reason=reason)
    figure = num_correct / num_directional
    reason = (
        f"next-day direction right in {num_correct} of {num_directional} forecasts that name one: "
        f"{figure:.2%}, at least {bound:.2%} are needed"
    )
    return _at_least("direction_accuracy", figure, bound, reason)


def _price_error(predicted: Prices, actual: Prices, bound: float) -> Rule:
    """The mean absolute next-day price error as a fraction of the actual price."""
    if not len(actual):
        reason = f"no forecast was tested, and the mean next-day price error must be at most {bound:.2%}"
        return Rule(rule="price_error", figure=None, bound=bound, passed=False, reason=reason)
    figure = float(np.mean(np.abs(predicted - actual) / actual))
    if not np.isfinite(figure):
        num_broken = int(np.count_nonzero(~np.isfinite(predicted)))
        reason = f"{num_broken} of {len(actual)} next-day forecasts are not finite prices"
        return Rule(rule="price_error", figure=None, bound=bound, passed=False, reason=reason)
    return Rule(
        rule="price_error",
        figure=figure,
        bound=bound,
        passed=figure <= bound,
        reason=f"mean next-day price error {figure:.2%} over {len(actual)} forecasts, at most {bound:.2%} is allowed",
    )


def _leakage(reports: Sequence[FoldReport], other_leaks: Mapping[str, int], bound: int) -> Rule:
    """The number of leaking rows, of all kinds and from all checks."""
    late = sum(report.num_leakage_rows for report in reports)
    kinds: Counter[str] = Counter()
    for leaks in (*(report.leaks for report in reports), other_leaks):
        kinds.update(leaks)
    figure = late + kinds.total()
    named = [f"{kind}: {count}" for kind, count in kinds.items() if count]
    found = f"{late} test rows are not after the last session that training read"
    if named:
        found = f"{figure} rows leak ({'; '.join([*([found] if late else []), *named])})"
    return Rule(
        rule="leakage_rows",
        figure=figure,
        bound=bound,
        passed=figure <= bound,
        reason=f"{found}, at most {bound} are allowed",
    )


def _folds(reports: Sequence[FoldReport], bound: int) -> Rule:
    figure = len(reports)
    reason = f"{figure} walk-forward folds were tested, at least {bound} are needed"
    return _at_least("folds", figure, bound, reason)


def _directional_calls(calls: Calls, bound: int) -> Rule:
    """The number of next-day forecasts that name a direction."""
    figure = calls.num_directional
    named = "1 next-day forecast names" if figure == 1 else f"{figure} next-day forecasts name"
    reason = f"{named} a direction, at least {bound} are needed"
    return _at_least("directional_calls", figure, bound, reason)


def _call_coverage(calls: Calls, bound: float) -> Rule:
    """The share of test rows whose next-day forecast names a direction."""
    num_rows = len(calls.directional)
    if not num_rows:
        reason = f"no forecast was tested, and at least {bound:.2%} of the forecasts must name a direction"
        return Rule(rule="call_coverage", figure=None, bound=bound, passed=False, reason=reason)
    figure = calls.num_directional / num_rows
    reason = f"{figure:.2%} of {num_rows} next-day forecasts name a direction, at least {bound:.2%} are needed"
    return _at_least("call_coverage", figure, bound, reason)


def _fold_sessions(reports: Sequence[FoldReport], bound: int) -> Rule:
    """The number of sessions that the shortest fold was tested on."""
    if not reports:
        reason = f"no fold was tested, each must have at least {bound} test sessions"
        return Rule(rule="fold_sessions", figure=None, bound=bound, passed=False, reason=reason)
    figure = min(len(np.unique(report.sessions)) for report in reports)
    reason = f"the shortest fold has {figure} test sessions, each needs at least {bound}"
    return _at_least("fold_sessions", figure, bound, reason)


def _best_constant(calls: Calls, lead: float) -> Rule:
    """Direction accuracy compared with that of the best constant direction on the same days.

    The constant is the direction that occurred more often, which no forecast can know beforehand: a model that learned
    nothing but a drift is at most as good.
    """
    num_directional = calls.num_directional
    if not num_directional:
        return Rule(rule="best_constant", figure=None, bound=None, passed=False, reason=NO_DIRECTION)
    num_rises, num_falls = int(np.count_nonzero(calls.rose)), int(np.count_nonzero(calls.fell))
    figure, constant = calls.num_correct / num_directional, max(num_rises, num_falls) / num_directional
    bound = constant + lead
    return Rule(
        rule="best_constant",
        figure=figure,
        bound=bound,
        passed=figure > bound,
        reason=f"next-day direction right in {figure:.2%}, which must exceed the {constant:.2%} of always saying "
        f"{'up' if num_rises >= num_falls else 'down'} on the same days" + (f" by over {lead:+.2%}" if lead else ""),
    )
