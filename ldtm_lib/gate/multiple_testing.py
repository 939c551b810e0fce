"""Multiple testing: false discovery rate among the tickers judged together, and the number of trials of each."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ldtm_lib.gate.evidence import Evidence
from ldtm_lib.statistics.false_discovery import q_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """The numbers of trainings and settings that were tried on a ticker."""

    num_trainings: int
    """Trainings of the ticker so far, this one included."""
    num_settings: int
    """Number of different settings of architecture, recipe, backtest plan and neutral band that were tried on it,
    the present ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierJudgement:
    """Figures of another ticker that was trained on the same session and judged earlier."""

    p_value: float
    """P-value of its timing, adjusted for the settings that were tried."""
    coin_passes: float
    """As in its evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipleTesting:
    """The multiple-testing figures of a ticker among those that were judged with it."""

    num_trainings: int
    num_settings: int
    num_tickers: int
    """Tickers trained on the same session, this one included: the family of the false discovery rate."""
    num_judged: int
    """Number of these tickers that were judged by then."""
    q_value: float
    """The false discovery rate of accepting this ticker's timing and all better ones as real."""
    coins_expected: float
    """Expected number of coins that meet the bound on direction accuracy, if one coin takes the place of each judged
    ticker."""

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return dataclasses.asdict(self)


def multiple_testing_from(fields: Mapping[str, object]) -> MultipleTesting:
    """Parse the figures from JSON."""
    return MultipleTesting(**fields)  # pyright: ignore[reportArgumentType]


def adjusted_p(evidence: Evidence, tried: Trials | MultipleTesting) -> float:
    """The p-value of a ticker's timing, corrected for the number of settings tried (Bonferroni)."""
    return min(1.0, evidence.timing_p * max(1, tried.num_settings))


def multiple_testing_of(
    evidence: Mapping[str, Evidence], trials: Mapping[str, Trials], others: Mapping[str, EarlierJudgement | None]
) -> dict[str, MultipleTesting]:
    """The multiple-testing figures of every ticker with evidence, which must have its trials.

    `others` maps the other tickers of the same session to their earlier judgements, or to None if they are not judged
    yet. Tickers that are not judged yet belong to the family with p = 1, so that a ticker gains nothing by being judged
    first or alone. A ticker in both mappings counts once, with its evidence.
    """
    of_others = {ticker: other for ticker, other in others.items() if ticker not in evidence}
    judged_before = [other for other in of_others.values() if other is not None]
    q_value_of = q_values(
        {ticker: 1.0 if other is None else other.p_value for ticker, other in of_others.items()}
        | {ticker: adjusted_p(shown, trials[ticker]) for ticker, shown in evidence.items()}
    )
    coins = [judged.coin_passes for judged in (*judged_before, *evidence.values())]
    return {
        ticker: MultipleTesting(
            num_trainings=trials[ticker].num_trainings,
            num_settings=trials[ticker].num_settings,
            num_judged=len(coins),
            num_tickers=len(q_value_of),
            q_value=q_value_of[ticker],
            coins_expected=math.fsum(coins),
        )
        for ticker in evidence
    }
