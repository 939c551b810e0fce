"""The model card: a verdict of the gate in plain sentences, for readers who are not statisticians."""

from ldtm_lib.gate.evidence import HORIZON_WORDS, Evidence, HorizonEvidence
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.wording import counted

NO_DIRECTION = "It called no direction at all."


def model_card(ticker: str, version: str | None, verdict: Verdict) -> list[str]:
    """The lines of the model card of a promotion, or of a refusal if `version` is None; one or two sentences a line."""
    lines = [_decision(ticker, version, verdict)]
    lines += [f"Failed: {rule.reason}." for rule in verdict.failures]
    if verdict.evidence is None:
        lines.append("No evidence other than the rules is on record.")
    else:
        lines += [
            *_direction_lines(verdict.evidence),
            *_luck_lines(verdict.evidence, verdict.multiple_testing),
            *(_error_line(shown) for shown in verdict.evidence.horizons),
        ]
    if verdict.multiple_testing is not None:
        lines += _multiple_testing_lines(ticker, verdict.multiple_testing)
    return lines


def _decision(ticker: str, version: str | None, verdict: Verdict) -> str:
    outcome = f"{ticker} was not promoted" if version is None else f"{ticker} was promoted as {version}"
    if not verdict.rules:
        return f"{outcome}: no rule of the gate was applied."
    num_rules, is_alone = len(verdict.rules), len(verdict.rules) == 1
    if verdict.passed:
        return f"{outcome}: it passed {'the only rule' if is_alone else f'all {num_rules} rules'} of the gate."
    failed = "the only rule" if is_alone else f"{len(verdict.failures)} of {num_rules} rules"
    return f"{outcome}: it failed {failed} of the gate."


def _direction_lines(evidence: Evidence) -> list[str]:
    if evidence.accuracy is None or evidence.accuracy_low is None or evidence.accuracy_high is None:
        return [f"{NO_DIRECTION} {counted(evidence.num_test_rows, 'day was', 'days were')} tested."]
    lines = [
        f"Direction right on {evidence.num_correct} of {counted(evidence.num_directional, 'day')} with a call: "
        f"{evidence.accuracy:.1%}, with 95% confidence between {evidence.accuracy_low:.0%} and "
        f"{evidence.accuracy_high:.0%}."
    ]
    if evidence.base_rate is not None and evidence.best_constant is not None:
        constant = f"Always saying up would have been right on {evidence.base_rate:.1%} of those days"
        better = evidence.best_constant > evidence.base_rate
        lines.append(f"{constant}, always saying down on {evidence.best_constant:.1%}." if better else f"{constant}.")
    if evidence.pesaran_timmermann is None:
        lines.append("Only one direction was called, or only one occurred: this shows nothing about timing.")
    else:
        lines.append(
            "Random calls with the same numbers of ups and downs would have done at least as well with probability "
            f"{_probability(evidence.timing_p)}."
        )
    return lines


def _luck_lines(evidence: Evidence, multiple_testing: MultipleTesting | None) -> list[str]:
    if not evidence.num_directional:
        return []
    coin = (
        f"A coin would have been right at least as often with probability {_probability(evidence.coin_p)}, and would "
        f"have passed the direction rule with probability {_probability(evidence.coin_passes)}"
    )
    if multiple_testing is None or multiple_testing.num_judged == 1:
        return [f"{coin}."]
    coins = (
        f"{multiple_testing.coins_expected:.1f}"
        if multiple_testing.coins_expected < 1
        else f"{multiple_testing.coins_expected:.0f}"
    )
    return [
        f"{coin}; of {multiple_testing.num_judged} coins, one for each ticker judged, about {coins} would have passed."
    ]


def _error_line(shown: HorizonEvidence) -> str:
    words = HORIZON_WORDS.get(shown.horizon, shown.horizon)
    words = words[:1].upper() + words[1:]
    if shown.mean_error is None:
        return f"{words} error: none could be measured."
    days = (
        f"{counted(shown.num_forecasts, 'overlapping forecast')}, worth {shown.effective_days:.0f} that do not overlap"
    )
    if shown.effective_days > shown.num_forecasts - 0.5:
        days = counted(shown.num_forecasts, "forecast")
    error = f"{words} error {shown.mean_error:.2%} over {days}"
    if shown.relative_error is None:
        return f"{error}; the price never changed, so there is nothing to beat."
    ratio = f"{error}: {shown.relative_error:.2f} times that of forecasting no change"
    if shown.dm_statistic is None:
        return f"{ratio}; whether this is luck cannot be tested."
    if shown.dm_statistic > 0:
        return f"{ratio} (one-sided test of a smaller error: p {_p(shown.p_better)})."
    return f"{ratio} (one-sided test of a larger error: p {_p(shown.p_worse)})."


def _multiple_testing_lines(ticker: str, multiple_testing: MultipleTesting) -> list[str]:
    settings = "setting" if multiple_testing.num_settings == 1 else "different settings"
    trained = (
        f"This was training no. {multiple_testing.num_trainings} of {ticker}, with {multiple_testing.num_settings} "
        f"{settings} so far; "
        "the more are tried, the better the luckiest one looks. The strict gate corrects for the number of settings, "
        "not for the number of trainings."
    )
    if multiple_testing.num_tickers == 1:
        return [trained, f"{ticker} was the only ticker of that session."]
    return [
        trained,
        f"{multiple_testing.num_judged} of {multiple_testing.num_tickers} tickers were judged by then. If the timing "
        "of this one and of all that did better is taken as real, up to "
        f"{_probability(multiple_testing.q_value)} of them must be expected to be luck.",
    ]


def _probability(p: float) -> str:
    """Format a probability in whole percent; never as 0%, and as 100% only if it is 1."""
    if p < 0.01:
        return "less than 1%"
    return "more than 99%" if 0.99 < p < 1 else f"{p:.0%}"


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"= {p:.2f}" if p >= 0.01 else f"= {p:.3f}"
