"""Comparison of a candidate with the active model on their shared test sessions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldtm_lib.backtest.walk_forward import FoldReport, Prices
from ldtm_lib.features.neutral_band import neutral_bands
from ldtm_lib.gate.evidence import LARGEST_PRICE, NEXT_DAY
from ldtm_lib.gate.verdict import Rule
from ldtm_lib.sessions import Sessions
from ldtm_lib.settings import ForecastConfig, GateConfig
from ldtm_lib.statistics.diebold_mariano import compare
from ldtm_lib.statistics.directions import calls_of

NOT_WORSE_THAN_ACTIVE = "not_worse_than_active"
SAME_ERROR = 1e-9
"""Relative difference below which two mean errors are a tie: on two price bases, equal errors differ in their last
digits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NextDayTests:
    """Next-day forecasts of a backtest, each by a network that never saw its session; a session occurs at most once."""

    sessions: Sessions
    """(n,) the sessions whose close the forecasts start from, ascending."""
    close: Prices
    volatility: Prices
    """(n,) as in `FoldReport`."""
    predicted: Prices
    actual: Prices

    def on(self, sessions: Sessions) -> "NextDayTests":
        """Select the forecasts of some of the sessions, given in ascending order."""
        rows = np.searchsorted(self.sessions, sessions)
        return NextDayTests(
            sessions=sessions,
            close=self.close[rows],
            volatility=self.volatility[rows],
            predicted=self.predicted[rows],
            actual=self.actual[rows],
        )


NO_TESTS = NextDayTests(
    sessions=np.empty(0, "datetime64[D]"),
    close=np.empty(0),
    volatility=np.empty(0),
    predicted=np.empty(0),
    actual=np.empty(0),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActiveModel:
    """The active model of a ticker that a candidate is compared with."""

    version: str
    tests: NextDayTests
    """Forecasts of the model's own backtest; empty if that backtest is not on record."""
    is_degraded: bool = False
    """True if its live record fell significantly below the gate."""


def next_day_tests(reports: Sequence[FoldReport]) -> NextDayTests:
    """The next-day forecasts of some folds. If two folds tested a session, the newer fold counts."""
    if not reports:
        return NO_TESTS
    newest_first = reports[::-1]
    every = np.concatenate([report.sessions.astype("datetime64[D]") for report in newest_first])
    sessions, rows = np.unique(every, return_index=True)
    return NextDayTests(
        sessions=sessions,
        close=np.concatenate([report.close for report in newest_first])[rows],
        volatility=np.concatenate([report.volatility for report in newest_first])[rows],
        predicted=np.concatenate([report.predictions[:, NEXT_DAY] for report in newest_first])[rows],
        actual=np.concatenate([report.actuals[:, NEXT_DAY] for report in newest_first])[rows],
    )


def not_worse_than_active(
    reports: Sequence[FoldReport],
    active: ActiveModel,
    stricter: Sequence[Rule],
    gate: GateConfig,
    forecast: ForecastConfig,
) -> Rule:
    """Rule for replacing the active model: the candidate must not be worse on their shared test sessions.

    Its excess of right over wrong calls must be larger than that of the active model, or equal with a smaller mean
    price error. In addition, the Diebold-Mariano test at `comparison_significance` must not find its price errors
    larger. Errors are fractions of the actual price, each on the price basis of its own backtest, so that a split
    between the two backtests does not matter. A tie keeps the active model. If fewer than `min_shared_sessions` are
    shared, `stricter`, the rules of the strict gate applied to the candidate, decide. A degraded active model is
    replaced without a comparison.
    """
    if active.is_degraded:
        reason = f"the active model {active.version} is degraded, so no comparison with it is needed"
        return Rule(rule=NOT_WORSE_THAN_ACTIVE, figure=None, bound=None, passed=True, reason=reason)
    candidate = _usable(next_day_tests(reports))
    incumbent = _usable(active.tests)
    shared = np.intersect1d(candidate.sessions, incumbent.sessions)
    if len(shared) < gate.min_shared_sessions:
        return _without_comparison(len(shared), active.version, stricter, gate.min_shared_sessions)
    return _compared(candidate.on(shared), incumbent.on(shared), active.version, gate, forecast)


def _compared(
    candidate: NextDayTests, incumbent: NextDayTests, version: str, gate: GateConfig, forecast: ForecastConfig
) -> Rule:
    (right, wrong), (right_of_active, wrong_of_active) = _calls(candidate, forecast), _calls(incumbent, forecast)
    net, net_of_active = right - wrong, right_of_active - wrong_of_active
    errors, errors_of_active = _errors(candidate), _errors(incumbent)
    error, error_of_active = float(np.mean(errors)), float(np.mean(errors_of_active))
    p_worse = compare(errors, errors_of_active).p_worse
    is_ahead = net > net_of_active or (net == net_of_active and error < error_of_active * (1 - SAME_ERROR))
    return Rule(
        rule=NOT_WORSE_THAN_ACTIVE,
        figure=net,
        bound=net_of_active,
        passed=is_ahead and p_worse > gate.comparison_significance,
        reason=f"on {len(candidate.sessions)} shared test sessions {right} right and {wrong} wrong next-day calls, "
        f"against {right_of_active} and {wrong_of_active} of the active model {version}: an excess of {net} against "
        f"{net_of_active}, a larger excess is needed, or the same with a smaller error; mean next-day price error "
        f"{error:.3%} against {error_of_active:.3%}: a model that is no worse would look this bad with probability "
        f"{p_worse:.2%}, more than {gate.comparison_significance:.2%} is needed",
    )


def _without_comparison(num_shared: int, version: str, stricter: Sequence[Rule], bound: int) -> Rule:
    failed = [rule.rule for rule in stricter if not rule.passed]
    outcome = f"the candidate fails its rules {', '.join(failed)}" if failed else "the candidate passes it"
    return Rule(
        rule=NOT_WORSE_THAN_ACTIVE,
        figure=num_shared,
        bound=bound,
        passed=not failed,
        reason=f"{num_shared} test sessions are shared with the active model {version}, at least {bound} are needed "
        f"for a comparison; the strict gate decides instead: {outcome}",
    )


def _usable(tests: NextDayTests) -> NextDayTests:
    """The tests with a finite forecast."""
    return tests.on(tests.sessions[np.abs(tests.predicted) <= LARGEST_PRICE])


def _calls(tests: NextDayTests, forecast: ForecastConfig) -> tuple[int, int]:
    """Number of right calls and of wrong ones; a neutral forecast is neither."""
    calls = calls_of(tests.close, tests.predicted, tests.actual, neutral_bands(forecast, tests.volatility))
    return calls.num_correct, calls.num_directional - calls.num_correct


def _errors(tests: NextDayTests) -> Prices:
    return np.abs(tests.predicted - tests.actual) / tests.actual
