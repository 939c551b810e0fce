"""Placebo calibration: the number of models that pass the gate although they cannot know anything."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from ldtm_lib.backtest.folds import FoldPlan, plan_folds
from ldtm_lib.backtest.walk_forward import FoldReport, tasks_of
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.placebo.kept import KeptCalibration, KeptTally
from ldtm_lib.placebo.rehearsal import GateVerdicts, judged_together, rehearse
from ldtm_lib.placebo.shuffling import MARK, original_of, shuffled
from ldtm_lib.settings import Settings
from ldtm_lib.statistics.wilson import Interval, wilson_interval
from ldtm_lib.training.plan import TrainingPlan
from ldtm_lib.training.run import TrainingContext
from ldtm_lib.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceboModel:
    """One placebo model, and the verdicts of the gates on it."""

    ticker: str
    copy: int
    passed: bool
    """True if it passed the plain gate."""
    passed_strict: bool
    failed: tuple[str, ...]
    """Every rule of the strict gate that it failed; the strict gate includes the rules of the plain gate."""
    accuracy: float | None
    """Share of right next-day directions; None if no direction was named, as are the two figures below."""
    base_rate: float | None
    """The share of rises on the days with a direction."""
    best_constant: float | None
    """The share of the more frequent direction."""
    timing_p: float
    """P-value of the timing test; uniform on 0 to 1 over placebo models if the test is valid."""
    coin_passes: float
    """The chance that a fair coin with as many calls meets the bound on direction accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceboTally:
    """Results of some placebo models. Means are over the models that named a direction, and None without any."""

    num_models: int
    num_passed: int
    """Number of models that passed the plain gate."""
    num_passed_strict: int
    passed_interval: Interval | None
    """The 95% interval (Wilson) of the share that passes the plain gate; None without a model. Models of one ticker are
    tested on the same days of the market, so the true interval is somewhat wider."""
    passed_strict_interval: Interval | None
    coins_expected: float
    """Expected number of fair coins that meet the bound on direction accuracy. There is one coin per model, with as
    many calls."""
    num_always_up: int
    """Number of models for which calling up on all of their days with a direction would have met that bound."""
    mean_accuracy: float | None
    mean_base_rate: float | None
    mean_best_constant: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceboReport:
    """Results of all placebo models."""

    num_copies: int
    models: tuple[PlaceboModel, ...]
    total: PlaceboTally
    by_ticker: Mapping[str, PlaceboTally]
    failed_by_rule: Mapping[str, int]
    """Number of models that failed, by rule, for every rule that was applied to any of them."""
    untrained: Mapping[str, str]
    """Models that could not be trained, such as `AAPL~17`, with the reason; no other figure counts them."""

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return dataclasses.asdict(self)

    def kept(self, calibrated_at: datetime) -> KeptCalibration:
        """The figures that are shown with verdicts of the gate."""
        by_ticker = {ticker: _kept(tally) for ticker, tally in self.by_ticker.items()}
        return KeptCalibration(calibrated_at=calibrated_at, total=_kept(self.total), by_ticker=by_ticker)


def _kept(tally: PlaceboTally) -> KeptTally:
    return KeptTally(
        num_models=tally.num_models,
        num_passed=tally.num_passed,
        num_passed_strict=tally.num_passed_strict,
        coins_expected=tally.coins_expected,
    )


def run_placebo(
    windows: Mapping[str, WindowSet], context: TrainingContext, *, num_copies: int, seed: int
) -> PlaceboReport:
    """Train, test and judge placebo models of some tickers as real models are.

    All folds of all copies are trained in one `fit_universe`, each copy with random numbers of its own. Copies with the
    same number are judged together over all tickers: their false discovery rate is controlled jointly. Raises
    TooFewBars for a ticker whose history is too short for a fold, or for exchanging futures.
    """
    settings, plan = context.settings, TrainingPlan()
    for true in windows.values():
        folds = require_folds(true, settings)
        for copy in range(num_copies):
            of_others = shuffled(true, seed=seed, copy=copy)
            plan.folds[of_others.ticker] = folds
            plan.tasks += tasks_of(of_others, folds, None)
    rehearsed = rehearse(plan, context)
    models: list[PlaceboModel] = []
    failed_by_rule: Counter[str] = Counter()
    for copy in range(num_copies):
        names = [f"{ticker}{MARK}{copy}" for ticker in windows]
        reports: dict[str, Sequence[FoldReport]] = {n: rehearsed.reports[n] for n in names if n in rehearsed.reports}
        for name, verdicts in judged_together(reports, settings).items():
            failed_by_rule.update({rule.rule: int(not rule.passed) for rule in verdicts.strict.rules})
            models.append(_model(original_of(name), copy, verdicts))
    bound = settings.gate.min_direction_accuracy
    return PlaceboReport(
        num_copies=num_copies,
        models=tuple(models),
        total=_tally(models, bound),
        by_ticker={ticker: _tally([m for m in models if m.ticker == ticker], bound) for ticker in windows},
        failed_by_rule=dict(failed_by_rule),
        untrained=rehearsed.failures,
    )


def require_folds(windows: WindowSet, settings: Settings) -> list[FoldPlan]:
    """The folds of a ticker's history; raises TooFewBars when it is too short for one."""
    folds = plan_folds(windows, settings.backtest, settings.training)
    if not folds:
        num_bars = len(windows.bar_sessions)
        raise TooFewBars(
            f"{windows.ticker} has {counted(num_bars, 'bar')}, which make{'s' if num_bars == 1 else ''} "
            f"{counted(int(windows.labelled.sum()), 'labelled window')}, too few for a fold of "
            f"{counted(settings.backtest.test_sessions, 'test session')} after "
            f"{counted(settings.training.min_training_rows, 'training row')}; use more bars, or leave the ticker out"
        )
    return folds


def _model(ticker: str, copy: int, verdicts: GateVerdicts) -> PlaceboModel:
    evidence = verdicts.evidence
    return PlaceboModel(
        ticker=ticker,
        copy=copy,
        passed=verdicts.plain.passed,
        passed_strict=verdicts.strict.passed,
        failed=tuple(rule.rule for rule in verdicts.strict.failures),
        accuracy=evidence.accuracy,
        base_rate=evidence.base_rate,
        best_constant=evidence.best_constant,
        timing_p=evidence.timing_p,
        coin_passes=evidence.coin_passes,
    )


def _tally(models: Sequence[PlaceboModel], min_accuracy: float) -> PlaceboTally:
    num_passed = sum(model.passed for model in models)
    num_passed_strict = sum(model.passed_strict for model in models)
    return PlaceboTally(
        num_models=len(models),
        num_passed=num_passed,
        num_passed_strict=num_passed_strict,
        passed_interval=share_interval(num_passed, len(models)),
        passed_strict_interval=share_interval(num_passed_strict, len(models)),
        coins_expected=sum(model.coin_passes for model in models),
        num_always_up=sum(model.base_rate is not None and model.base_rate >= min_accuracy for model in models),
        mean_accuracy=_mean(model.accuracy for model in models),
        mean_base_rate=_mean(model.base_rate for model in models),
        mean_best_constant=_mean(model.best_constant for model in models),
    )


def share_interval(num: int, num_models: int) -> Interval | None:
    """The 95% interval of a share of models (Wilson); None without a model."""
    return wilson_interval(num / num_models, num_models) if num_models else None


def _mean(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return fmean(known) if known else None
