"""Train what is not on record yet, for many tickers in one go, and keep every result the moment it is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from ldtm_lib.backtest.folds import FoldPlan, plan_final, plan_folds
from ldtm_lib.backtest.walk_forward import FoldReport, fold_report, tasks_of
from ldtm_lib.config import Settings
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import Fit, FitFailed, FitTask
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.trainer import OnProgress, fit_universe
from ldtm_lib.registry import backtests as stored_backtests
from ldtm_lib.registry import checkpoints as stored_checkpoints
from ldtm_lib.registry import failures as stored_failures
from ldtm_lib.registry.checkpoints import Candidate, CheckpointRecord
from ldtm_lib.registry.failures import Failure, Part
from ldtm_lib.registry.inputs import InputKey, input_key

Status = Literal["trained", "up to date", "too few bars", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What became of one part of one ticker's training, with the numbers that describe it where there are any."""

    ticker: str
    part: Part
    status: Status
    reason: str | None = None
    """Why there is nothing, for `too few bars` and `failed`."""
    validation_loss: float | None = None
    """Of the final network; for a backtest the mean over its folds."""
    num_epochs: int | None = None
    """Of the final network; for a backtest the sum over its folds, as are the next two."""
    duration_seconds: float | None = None
    num_training_rows: int | None = None
    num_validation_rows: int | None = None
    num_folds: int | None = None
    num_test_rows: int | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainReport:
    """What one retraining did."""

    trained_on: date
    outcomes: tuple[TrainingOutcome, ...]
    """One per ticker and part that was asked for, sorted by ticker."""

    def of(self, part: Part) -> dict[str, TrainingOutcome]:
        """The outcomes of one part by ticker."""
        return {outcome.ticker: outcome for outcome in self.outcomes if outcome.part == part}


@dataclass(slots=True, kw_only=True, eq=False)
class _Walk:
    """A backtest in the making: the folds whose networks are not there yet, and the reports of the others."""

    key: InputKey
    open_folds: dict[int, FoldPlan]
    fits: list[Fit] = field(default_factory=list[Fit])
    reports: list[FoldReport] = field(default_factory=list[FoldReport])
    failures: list[str] = field(default_factory=list[str])


@dataclass(slots=True, kw_only=True, eq=False)
class _Agenda:
    """What is to be trained, and what needs no training."""

    tasks: list[FitTask] = field(default_factory=list[FitTask])
    walks: dict[str, _Walk] = field(default_factory=dict[str, _Walk])
    failures: list[Failure] = field(default_factory=list[Failure])
    outcomes: list[TrainingOutcome] = field(default_factory=list[TrainingOutcome])


def retrain(
    database: Database,
    folder: Path,
    windows: Mapping[str, WindowSet],
    settings: Settings,
    *,
    trained_on: date,
    device: str,
    backtests: bool = True,
    checkpoints: bool = True,
    on_progress: OnProgress | None = None,
) -> RetrainReport:
    """Train the final networks and the backtests of many tickers on what was known on the evening of a session.

    What is on record with an intact file is up to date and skipped. Everything else goes to one `fit_universe`.
    Each result is committed by itself as soon as it is complete: a ticker that fails, or the end of the process,
    takes none of the others with it, and running again does only what is left.
    """
    known = {ticker: of_ticker.known_by(trained_on) for ticker, of_ticker in windows.items()}
    keys = {ticker: input_key(of_ticker, settings, trained_on) for ticker, of_ticker in known.items()}
    with database.transaction() as conn:
        trained = stored_checkpoints.existing(conn, folder, keys.values())
        tested = stored_backtests.existing(conn, keys.values(), plan=settings.backtest)
    agenda = _Agenda()
    for ticker, of_ticker in known.items():
        if backtests:
            _plan_backtest(agenda, of_ticker, keys[ticker], settings, is_tested=keys[ticker] in tested)
        if checkpoints:
            _plan_checkpoint(agenda, of_ticker, keys[ticker], settings, trained.get(keys[ticker]))
    with database.transaction() as conn:
        stored_failures.record(conn, agenda.failures)
        without_folds = {f.key: () for f in agenda.failures if f.part == "backtest"}
        stored_backtests.store(conn, without_folds, plan=settings.backtest)

    outcomes = agenda.outcomes
    for result in fit_universe(
        agenda.tasks,
        recipe=settings.training,
        architecture=settings.architecture,
        device=device,
        on_progress=on_progress,
    ):
        ticker = result.task.ticker
        if result.task.fold is None:
            outcomes.append(_keep_final(database, folder, result, keys[ticker], settings))
            continue
        walk = agenda.walks[ticker]
        _take_fold(walk, result, settings, device)
        if not walk.open_folds:
            outcomes.append(_keep_backtest(database, walk, settings))
    return RetrainReport(trained_on=trained_on, outcomes=tuple(sorted(outcomes, key=lambda o: (o.ticker, o.part))))


def _plan_backtest(agenda: _Agenda, windows: WindowSet, key: InputKey, settings: Settings, *, is_tested: bool) -> None:
    folds = plan_folds(windows, settings.backtest, settings.training)
    if not folds:
        reason = (
            f"{windows.ticker} has {int(windows.labelled.sum())} labelled windows, too few for a fold of "
            f"{settings.backtest.test_sessions} test sessions after {settings.training.min_training_rows} training rows"
        )
        agenda.failures.append(Failure(key=key, part="backtest", reason=reason))
        agenda.outcomes.append(_unmade(windows.ticker, "backtest", "too few bars", reason))
    elif is_tested:
        agenda.outcomes.append(TrainingOutcome(ticker=windows.ticker, part="backtest", status="up to date"))
    else:
        agenda.walks[windows.ticker] = _Walk(key=key, open_folds={plan.fold: plan for plan in folds})
        agenda.tasks += tasks_of(windows, folds, None)


def _plan_checkpoint(
    agenda: _Agenda, windows: WindowSet, key: InputKey, settings: Settings, on_record: CheckpointRecord | None
) -> None:
    if on_record is not None:
        agenda.outcomes.append(_of_record(on_record, "up to date"))
        return
    try:
        split = plan_final(windows, settings.training)
    except TooFewBars as error:
        agenda.failures.append(Failure(key=key, part="checkpoint", reason=str(error)))
        agenda.outcomes.append(_unmade(windows.ticker, "checkpoint", "too few bars", str(error)))
        return
    agenda.tasks += tasks_of(windows, (), split)


def _keep_final(
    database: Database, folder: Path, result: Fit | FitFailed, key: InputKey, settings: Settings
) -> TrainingOutcome:
    """Put a final network, or why there is none, on record."""
    with database.transaction() as conn:
        if isinstance(result, FitFailed):
            reason = str(result.reason)
            stored_failures.record(conn, [Failure(key=key, part="checkpoint", reason=reason)])
            return _unmade(key.ticker, "checkpoint", "failed", reason)
        records = stored_checkpoints.record_candidates(
            conn,
            folder,
            [Candidate(key=key, fit=result)],
            architecture=settings.architecture,
            seed=settings.training.seed,
        )
    return _of_record(records[key], "trained")


def _take_fold(walk: _Walk, result: Fit | FitFailed, settings: Settings, device: str) -> None:
    """Test one fold's network; only its forecasts are kept."""
    plan = walk.open_folds.pop(result.task.fold or 0)
    if isinstance(result, FitFailed):
        walk.failures.append(str(result.reason))
        return
    predictions = predict(result.state, result.task.windows, plan.test_rows, settings.architecture, device)
    walk.fits.append(result)
    walk.reports.append(fold_report(plan, result, predictions))


def _keep_backtest(database: Database, walk: _Walk, settings: Settings) -> TrainingOutcome:
    """Put a whole backtest on record. One without all of its folds is none: the fold that failed might be the worst."""
    ticker = walk.key.ticker
    reports = sorted(walk.reports, key=lambda report: report.fold)
    with database.transaction() as conn:
        if walk.failures:
            reason = "; ".join(walk.failures)
            stored_failures.record(conn, [Failure(key=walk.key, part="backtest", reason=reason)])
            return _unmade(ticker, "backtest", "failed", reason)
        stored_backtests.store(conn, {walk.key: reports}, plan=settings.backtest)
    return TrainingOutcome(
        ticker=ticker,
        part="backtest",
        status="trained",
        validation_loss=sum(report.validation_loss for report in reports) / len(reports),
        num_epochs=sum(report.num_epochs for report in reports),
        duration_seconds=sum(fit.duration_seconds for fit in walk.fits),
        num_training_rows=sum(report.num_training_rows for report in reports),
        num_validation_rows=sum(report.num_validation_rows for report in reports),
        num_folds=len(reports),
        num_test_rows=sum(len(report.sessions) for report in reports),
        device=walk.fits[0].device,
    )


def _of_record(record: CheckpointRecord, status: Status) -> TrainingOutcome:
    return TrainingOutcome(
        ticker=record.ticker,
        part="checkpoint",
        status=status,
        validation_loss=record.validation_loss,
        num_epochs=record.num_epochs,
        duration_seconds=record.duration_seconds,
        num_training_rows=record.num_training_rows,
        num_validation_rows=record.num_validation_rows,
        device=record.device,
    )


def _unmade(ticker: str, part: Part, status: Status, reason: str) -> TrainingOutcome:
    return TrainingOutcome(ticker=ticker, part=part, status=status, reason=reason)
