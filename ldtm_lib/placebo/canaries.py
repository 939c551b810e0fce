"""Canaries: made-up tickers on which the correct verdicts of the gates are known, to test the gates themselves."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from ldtm_lib.backtest.folds import FoldPlan, plan_folds
from ldtm_lib.backtest.walk_forward import FoldReport, tasks_of
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.indicators import WARMUP_BARS
from ldtm_lib.features.windows import windows_of
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.models.fit import FitTask
from ldtm_lib.placebo.canary_bars import LAST_SESSION, coin_flip, planted
from ldtm_lib.placebo.rehearsal import GateVerdicts, judged_together, rehearse
from ldtm_lib.sessions import ONE_MONTH_SESSIONS, Calendar
from ldtm_lib.settings import BacktestConfig, Settings
from ldtm_lib.training.plan import TrainingPlan
from ldtm_lib.training.run import TrainingContext
from ldtm_lib.wording import counted

Kind = Literal["coin flip", "planted", "leaking"]

CANARIES: Mapping[str, Kind] = {
    "COIN-1": "coin flip",
    "COIN-2": "coin flip",
    "COIN-3": "coin flip",
    "PLANTED": "planted",
    "LEAKING": "leaking",
}
EXPECTED: Mapping[Kind, str] = {
    "coin flip": "fails the strict gate",
    "planted": "passes both gates, timing p at most 1e-6",
    "leaking": "fails the plain gate for leakage alone",
}
NUM_FOLDS = 2
"""Number of folds, or more if the gate requires more: a canary shows that the checks work, not how well."""
TRAINING_ROWS = 1_200
"""Number of rows from which small networks learn a planted signal in the seven epochs of the demo."""
TINY_P = 1e-6
"""Largest p-value that the timing of a planted signal may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Result of one made-up ticker."""

    ticker: str
    kind: Kind
    expected: str
    """Verdicts that the gates must give on it, in words."""
    found: str
    """Verdicts that they gave, or the reason why no network was trained."""
    is_as_expected: bool
    passed: bool
    """True if it passed the plain gate."""
    passed_strict: bool
    accuracy: float | None
    """Share of right next-day directions; None if no direction was named or nothing was trained."""
    timing_p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReport:
    """Results of all made-up tickers."""

    canaries: tuple[Canary, ...]

    @property
    def checks_see(self) -> bool:
        """True if the gates gave the expected verdicts on every canary."""
        return all(canary.is_as_expected for canary in self.canaries)

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return {"checks_see": self.checks_see, **dataclasses.asdict(self)}


def run_canaries(context: TrainingContext, calendar: Calendar, *, seed: int) -> CanaryReport:
    """Train the canaries by the settings and judge them by both gates.

    Coin flips must not pass the strict gate, a planted signal must pass both, and networks that were trained on their
    own test days must fail for that alone, although all other figures look excellent. With some seeds a coin is lucky
    and passes the strict gate, as rarely as its significance says. Raises TooFewBars when the settings need longer
    histories than the calendar has.
    """
    settings, plan = context.settings, TrainingPlan()
    backtest = settings.backtest.replace(num_folds=max(NUM_FOLDS, settings.gate.min_folds))
    bars = canary_bars(calendar, _num_bars(settings, backtest), seed=seed)
    for ticker, windows in windows_of(bars, calendar, settings.window).items():
        folds = plan_folds(windows, backtest, settings.training)
        if len(folds) < backtest.num_folds:
            raise TooFewBars(
                f"the calendar has {len(windows.bar_sessions)} sessions up to {LAST_SESSION} for a canary, too few for "
                f"{counted(backtest.num_folds, 'fold')}; lower backtest.test_sessions or training.min_training_rows"
            )
        plan.folds[ticker] = folds
        clean = tasks_of(windows, folds, None)
        is_leaky = CANARIES[ticker] == "leaking"
        plan.tasks += [_leaky(task, fold) for task, fold in zip(clean, folds, strict=True)] if is_leaky else clean
    rehearsed = rehearse(plan, context)
    verdicts: dict[str, GateVerdicts] = {}
    for kind in EXPECTED:  # each kind by itself: with a planted signal, luck would count as a discovery more easily
        reports: dict[str, Sequence[FoldReport]] = {
            ticker: some for ticker, some in rehearsed.reports.items() if CANARIES[ticker] == kind
        }
        verdicts |= judged_together(reports, settings)
    return CanaryReport(
        canaries=tuple(
            _seen(ticker, verdicts[ticker]) if ticker in verdicts else _unseen(ticker, rehearsed.failures[ticker])
            for ticker in CANARIES
        )
    )


def canary_bars(calendar: Calendar, num_bars: int, *, seed: int) -> pl.DataFrame:
    """The bars of all canaries, columns of BAR_SCHEMA."""
    return pl.concat(
        (coin_flip if kind == "coin flip" else planted)(ticker, calendar, num_bars, seed=seed)
        for ticker, kind in CANARIES.items()
    )


def _num_bars(settings: Settings, backtest: BacktestConfig) -> int:
    """Number of bars with which the oldest fold has enough training rows after warm-up, validation, purge and tests."""
    training = settings.training
    known = (max(TRAINING_ROWS, training.min_training_rows) + ONE_MONTH_SESSIONS) / (1 - training.validation_fraction)
    tested = backtest.num_folds * backtest.test_sessions + backtest.embargo_sessions
    return WARMUP_BARS + settings.window.window_sessions + math.ceil(known) + tested + 3 * ONE_MONTH_SESSIONS


def _leaky(task: FitTask, fold: FoldPlan) -> FitTask:
    """The task with its network's test windows added to the training windows."""
    return replace(task, training_rows=np.concatenate([task.training_rows, fold.test_rows]))


def _seen(ticker: str, verdicts: GateVerdicts) -> Canary:
    kind, evidence = CANARIES[ticker], verdicts.evidence
    if kind == "coin flip":
        is_as_expected = not verdicts.strict.passed
    elif kind == "planted":
        is_as_expected = verdicts.strict.passed and evidence.timing_p <= TINY_P
    else:
        is_as_expected = [rule.rule for rule in verdicts.plain.failures] == ["leakage_rows"]
    return Canary(
        ticker=ticker,
        kind=kind,
        expected=EXPECTED[kind],
        found=f"{_outcome(verdicts.plain, 'the plain gate')}; {_outcome(verdicts.strict, 'the strict gate')}",
        is_as_expected=is_as_expected,
        passed=verdicts.plain.passed,
        passed_strict=verdicts.strict.passed,
        accuracy=evidence.accuracy,
        timing_p=evidence.timing_p,
    )


def _unseen(ticker: str, reason: str) -> Canary:
    return Canary(
        ticker=ticker,
        kind=CANARIES[ticker],
        expected=EXPECTED[CANARIES[ticker]],
        found=f"was not trained: {reason}",
        is_as_expected=False,
        passed=False,
        passed_strict=False,
        accuracy=None,
        timing_p=None,
    )


def _outcome(verdict: Verdict, gate: str) -> str:
    if verdict.passed:
        return f"passed {gate}"
    return f"failed {gate} ({', '.join(rule.rule for rule in verdict.failures)})"
