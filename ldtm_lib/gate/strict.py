"""The rules of the strict gate: the figures must be better than luck explains."""

from ldtm_lib.gate.evidence import HORIZON_WORDS, Evidence, HorizonEvidence
from ldtm_lib.gate.multiple_testing import MultipleTesting, adjusted_p
from ldtm_lib.gate.verdict import Rule
from ldtm_lib.settings import GateConfig

COIN = 0.5
NO_DIRECTION = "no next-day forecast names a direction"


def strict_rules(
    evidence: Evidence | None, multiple_testing: MultipleTesting | None, gate: GateConfig
) -> tuple[Rule, ...]:
    """The strict gate's rules, applied; a single failed one if evidence or multiple-testing figures are missing."""
    if evidence is None:
        return (_missing("evidence", "no evidence was computed, which the strict gate requires"),)
    if multiple_testing is None:
        return (
            _missing("multiple_testing", "it was not corrected for multiple testing, which the strict gate requires"),
        )
    return (
        _direction_interval(evidence),
        _timing(evidence, multiple_testing, gate.significance),
        _against_no_change(evidence, "next_day", gate.significance, must_beat=True),
        _against_no_change(evidence, "next_monday", gate.significance, must_beat=False),
        _against_no_change(evidence, "one_month", gate.significance, must_beat=False),
        _false_discovery(multiple_testing, gate.max_false_discovery_rate),
    )


def _missing(rule: str, reason: str) -> Rule:
    return Rule(rule=rule, figure=None, bound=None, passed=False, reason=reason)


def _direction_interval(evidence: Evidence) -> Rule:
    low = evidence.accuracy_low
    return Rule(
        rule="direction_interval",
        figure=low,
        bound=COIN,
        passed=low is not None and low > COIN,
        reason=f"{NO_DIRECTION}, so that direction accuracy has no interval"
        if low is None
        else f"the 95% interval of direction accuracy begins at {low:.2%}, it must begin above {COIN:.2%}",
    )


def _timing(evidence: Evidence, multiple_testing: MultipleTesting, significance: float) -> Rule:
    p = adjusted_p(evidence, multiple_testing)
    return Rule(
        rule="timing",
        figure=p,
        bound=significance,
        passed=p <= significance,
        reason=f"calls without skill would agree with the outcomes as well with probability {p:.2%}, corrected for "
        f"{multiple_testing.num_settings} settings tried; at most {significance:.2%} is allowed",
    )


def _against_no_change(evidence: Evidence, horizon: str, significance: float, *, must_beat: bool) -> Rule:
    """The error compared with that of forecasting no change: with `must_beat` it must be significantly smaller, else
    not significantly larger.
    """
    rule, shown = f"no_change_{horizon}", evidence.of_horizon(horizon)
    if shown is None or not shown.num_forecasts:
        reason = f"no {HORIZON_WORDS[horizon]} forecast could be compared with forecasting no change"
        return Rule(rule=rule, figure=None, bound=significance, passed=False, reason=reason)
    if must_beat:
        p, passed = shown.p_better, shown.p_better <= significance
        luck, bound = "that is no better would look this good", f"at most {significance:.2%} is allowed"
    else:
        p, passed = shown.p_worse, shown.p_worse > significance
        luck, bound = "that is no worse would look this bad", f"more than {significance:.2%} is needed"
    return Rule(
        rule=rule,
        figure=p,
        bound=significance,
        passed=passed,
        reason=f"{_ratio(shown)}; a forecast {luck} with probability {p:.2%}, {bound}",
    )


def _ratio(shown: HorizonEvidence) -> str:
    words = HORIZON_WORDS[shown.horizon]
    if shown.relative_error is None:
        return f"the price never changed, so {words} errors cannot be compared with those of forecasting no change"
    return f"mean {words} price error {shown.relative_error:.3f} times that of forecasting no change"


def _false_discovery(multiple_testing: MultipleTesting, bound: float) -> Rule:
    return Rule(
        rule="false_discovery",
        figure=multiple_testing.q_value,
        bound=bound,
        passed=multiple_testing.q_value <= bound,
        reason=f"among {multiple_testing.num_tickers} tickers of the session its timing counts as real only at a false "
        f"discovery rate of {multiple_testing.q_value:.2%} or more, at most {bound:.2%} is allowed",
    )
