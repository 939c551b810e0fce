"""The rules of the strict gate: figures must hold beyond luck, and beyond what a constant would do."""

from ldtm_lib.config import GateConfig
from ldtm_lib.gate.evidence import Evidence, HorizonEvidence
from ldtm_lib.gate.standing import Standing, Trials, adjusted_p
from ldtm_lib.gate.verdict import Rule

COIN = 0.5
HORIZON_WORDS = {"next_day": "next-day", "next_monday": "next-Monday", "one_month": "one-month"}
NO_DIRECTION = "no next-day forecast names a direction"


def strict_rules(evidence: Evidence | None, standing: Standing | None, gate: GateConfig) -> tuple[Rule, ...]:
    """The strict gate's rules, applied; a single failed one where there is nothing to apply them to."""
    if evidence is None:
        return (_missing("evidence", "no evidence was worked out, which the strict gate rests on"),)
    if standing is None:
        return (_missing("standing", "it was not compared with the tickers judged beside it, as the strict gate asks"),)
    return (
        _direction_interval(evidence),
        _best_constant(evidence),
        _timing(evidence, standing, gate.significance),
        _beats_no_change(evidence, "next_day", gate.significance),
        _not_worse_than_no_change(evidence, "next_monday", gate.significance),
        _not_worse_than_no_change(evidence, "one_month", gate.significance),
        _false_discovery(standing, gate.max_false_discovery_rate),
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
        reason=f"{NO_DIRECTION}, so its accuracy has no interval"
        if low is None
        else f"the 95% interval of direction accuracy begins at {low:.2%}, it must begin above {COIN:.2%}",
    )


def _best_constant(evidence: Evidence) -> Rule:
    accuracy, constant = evidence.accuracy, evidence.best_constant
    if accuracy is None or constant is None:
        return Rule(rule="best_constant", figure=None, bound=None, passed=False, reason=NO_DIRECTION)
    return Rule(
        rule="best_constant",
        figure=accuracy,
        bound=constant,
        passed=accuracy > constant,
        reason=f"next-day direction right in {accuracy:.2%}, more is needed than the {constant:.2%} of always saying "
        "the direction that was the more frequent one",
    )


def _timing(evidence: Evidence, standing: Standing, significance: float) -> Rule:
    trials = Trials(num_trainings=standing.num_trainings, num_settings=standing.num_settings)
    p = adjusted_p(evidence, trials)
    return Rule(
        rule="timing",
        figure=p,
        bound=significance,
        passed=p <= significance,
        reason=f"blind calls would go with the outcomes as well with probability {p:.2%}, with "
        f"{standing.num_settings} settings tried; at most {significance:.2%} is allowed",
    )


def _beats_no_change(evidence: Evidence, horizon: str, significance: float) -> Rule:
    rule, shown = f"no_change_{horizon}", evidence.of_horizon(horizon)
    if shown is None or not shown.num_forecasts:
        return _not_compared(rule, horizon, significance)
    return Rule(
        rule=rule,
        figure=shown.p_better,
        bound=significance,
        passed=shown.p_better <= significance,
        reason=f"{_ratio(shown)}; a forecast no better would look as good with probability {shown.p_better:.2%}, "
        f"at most {significance:.2%} is allowed",
    )


def _not_worse_than_no_change(evidence: Evidence, horizon: str, significance: float) -> Rule:
    rule, shown = f"no_change_{horizon}", evidence.of_horizon(horizon)
    if shown is None or not shown.num_forecasts:
        return _not_compared(rule, horizon, significance)
    return Rule(
        rule=rule,
        figure=shown.p_worse,
        bound=significance,
        passed=shown.p_worse > significance,
        reason=f"{_ratio(shown)}; a forecast no worse would look as bad with probability {shown.p_worse:.2%}, "
        f"more than {significance:.2%} is needed",
    )


def _not_compared(rule: str, horizon: str, significance: float) -> Rule:
    reason = f"no {HORIZON_WORDS[horizon]} forecast could be compared with forecasting no change"
    return Rule(rule=rule, figure=None, bound=significance, passed=False, reason=reason)


def _ratio(shown: HorizonEvidence) -> str:
    words = HORIZON_WORDS[shown.horizon]
    if shown.relative_error is None:
        return f"the price never changed, so {words} errors cannot be compared with those of forecasting no change"
    return f"mean {words} price error {shown.relative_error:.3f} times that of forecasting no change"


def _false_discovery(standing: Standing, bound: float) -> Rule:
    return Rule(
        rule="false_discovery",
        figure=standing.q_value,
        bound=bound,
        passed=standing.q_value <= bound,
        reason=f"among {standing.num_tickers} tickers of the evening it counts as a discovery from a false discovery "
        f"rate of {standing.q_value:.2%} on, at most {bound:.2%} is allowed",
    )
