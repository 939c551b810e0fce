"""Train what is not on record yet, for many tickers in one go, and keep every result the moment it is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType

from ldtm_lib.backtest.folds import FoldPlan, plan_final, plan_folds
from ldtm_lib.backtest.walk_forward import FoldReport, fold_report, tasks_of
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.look_ahead import WindowLeaks
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.models.fit import Fit, FitFailed, FitTask
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.registry import backtests as stored_backtests
from ldtm_lib.registry import checkpoints as stored_checkpoints
from ldtm_lib.registry import failures as stored_failures
from ldtm_lib.registry.checkpoints import Candidate
from ldtm_lib.registry.failures import Failure, Part
from ldtm_lib.registry.inputs import InputKey, input_key
from ldtm_lib.registry.trained_network import TrainedNetwork, trained_network
from ldtm_lib.settings import Settings
from ldtm_lib.training.callbacks import TrainingCallbacks
from ldtm_lib.training.report import Status, TrainingOutcome, TrainingReport

NOT_SEARCHED: Mapping[str, WindowLeaks] = MappingProxyType({})


@dataclass(slots=True, kw_only=True, eq=False)
class _Walk:
    """A backtest in the making: the folds whose networks are not there yet, and the reports of the others."""

    key: InputKey
    open_folds: dict[int, FoldPlan]
    networks: list[TrainedNetwork] = field(default_factory=list[TrainedNetwork])
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
    gpu_index: int | None = None,
    backtests: bool = True,
    checkpoints: bool = True,
    window_leaks: Mapping[str, WindowLeaks] = NOT_SEARCHED,
    callbacks: TrainingCallbacks | None = None,
) -> TrainingReport:
    """Train the final networks and the backtests of many tickers on what was known on the evening of a session.

    What is on record with an intact file is up to date and skipped. Everything else goes to one `fit_universe`.
    Each result is committed by itself as soon as it is complete: a ticker that fails, or the end of the process,
    takes none of the others with it, and running again does only what is left. `gpu_index` says which of the
    machine's GPUs was leased for it, and `window_leaks` what the tickers' sampled windows knew that they could not:
    both go on record.
    """
    known = {ticker: of_ticker.known_by(trained_on) for ticker, of_ticker in windows.items()}
    keys = {ticker: input_key(of_ticker, settings, trained_on) for ticker, of_ticker in known.items()}
    with database.transaction() as conn:
        trained = stored_checkpoints.existing(conn, folder, keys.values())
        tested = stored_backtests.existing(conn, keys.values(), plan=settings.backtest)
        finals = stored_checkpoints.networks(conn, trained.values())
        folds = stored_backtests.networks(conn, tested.values())
    agenda = _Agenda()
    for ticker, of_ticker in known.items():
        if backtests:
            of_folds = folds[tested[keys[ticker]]] if keys[ticker] in tested else None
            _plan_backtest(agenda, of_ticker, keys[ticker], settings, of_folds)
        if checkpoints:
            on_record = trained.get(keys[ticker])
            final = finals[on_record.checkpoint_id] if on_record else None
            _plan_checkpoint(agenda, of_ticker, keys[ticker], settings, final)
    with database.transaction() as conn:
        stored_failures.record(conn, agenda.failures)
        without_folds = {f.key: () for f in agenda.failures if f.part == "backtest"}
        stored_backtests.store(conn, without_folds, plan=settings.backtest, window_leaks=window_leaks)

    if callbacks is not None:
        callbacks.on_start(agenda.tasks)
    outcomes = agenda.outcomes
    for result in fit_universe(
        agenda.tasks,
        recipe=settings.training,
        architecture=settings.architecture,
        device=device,
        gpu=settings.gpu,
        on_progress=callbacks.on_epoch if callbacks is not None else None,
    ):
        ticker = result.task.ticker
        if result.task.fold is None:
            outcomes.append(_keep_final(database, folder, result, keys[ticker], settings, gpu_index))
        else:
            walk = agenda.walks[ticker]
            _take_fold(walk, result, settings, gpu_index)
            if not walk.open_folds:
                outcomes.append(_keep_backtest(database, walk, settings, window_leaks))
        if callbacks is not None:
            callbacks.on_result(result)
    return TrainingReport(trained_on=trained_on, outcomes=()).including(outcomes)


def _plan_backtest(
    agenda: _Agenda, windows: WindowSet, key: InputKey, settings: Settings, on_record: list[TrainedNetwork] | None
) -> None:
    folds = plan_folds(windows, settings.backtest, settings.training)
    if not folds:
        reason = (
            f"{windows.ticker} has {int(windows.labelled.sum())} labelled windows, too few for a fold of "
            f"{settings.backtest.test_sessions} test sessions after {settings.training.min_training_rows} training rows"
        )
        agenda.failures.append(Failure(key=key, part="backtest", reason=reason))
        agenda.outcomes.append(_unmade(windows.ticker, "backtest", "too few bars", reason))
    elif on_record is not None:
        agenda.outcomes.append(_made(windows.ticker, "backtest", "up to date", on_record))
    else:
        agenda.walks[windows.ticker] = _Walk(key=key, open_folds={plan.fold: plan for plan in folds})
        agenda.tasks += tasks_of(windows, folds, None)


def _plan_checkpoint(
    agenda: _Agenda, windows: WindowSet, key: InputKey, settings: Settings, on_record: TrainedNetwork | None
) -> None:
    if on_record is not None:
        agenda.outcomes.append(_made(windows.ticker, "checkpoint", "up to date", [on_record]))
        return
    try:
        split = plan_final(windows, settings.training)
    except TooFewBars as error:
        agenda.failures.append(Failure(key=key, part="checkpoint", reason=str(error)))
        agenda.outcomes.append(_unmade(windows.ticker, "checkpoint", "too few bars", str(error)))
        return
    agenda.tasks += tasks_of(windows, (), split)


def _keep_final(
    database: Database,
    folder: Path,
    result: Fit | FitFailed,
    key: InputKey,
    settings: Settings,
    gpu_index: int | None,
) -> TrainingOutcome:
    """Put a final network, or why there is none, on record."""
    with database.transaction() as conn:
        if isinstance(result, FitFailed):
            reason = str(result.reason)
            stored_failures.record(conn, [Failure(key=key, part="checkpoint", reason=reason)])
            return _unmade(key.ticker, "checkpoint", "failed", reason)
        candidate = Candidate(key=key, fit=result, gpu_index=gpu_index)
        stored_checkpoints.record_candidates(
            conn, folder, [candidate], architecture=settings.architecture, seed=settings.training.seed
        )
    return _made(key.ticker, "checkpoint", "trained", [candidate.network])


def _take_fold(walk: _Walk, result: Fit | FitFailed, settings: Settings, gpu_index: int | None) -> None:
    """Test one fold's network, on the CPU as an evening's forecasts are made; only its forecasts are kept."""
    plan = walk.open_folds.pop(result.task.fold or 0)
    if isinstance(result, FitFailed):
        walk.failures.append(str(result.reason))
        return
    predictions = predict(result.state, result.task.windows, plan.test_rows, settings.architecture, "cpu")
    walk.networks.append(trained_network(result, gpu_index=gpu_index, num_test_rows=len(plan.test_rows)))
    walk.reports.append(fold_report(plan, result, predictions))


def _keep_backtest(
    database: Database, walk: _Walk, settings: Settings, window_leaks: Mapping[str, WindowLeaks]
) -> TrainingOutcome:
    """Put a whole backtest on record. One without all of its folds is none: the fold that failed might be the worst."""
    ticker = walk.key.ticker
    reports = sorted(walk.reports, key=lambda report: report.fold)
    networks = sorted(walk.networks, key=lambda network: network.fold or 0)
    with database.transaction() as conn:
        if walk.failures:
            reason = "; ".join(walk.failures)
            stored_failures.record(conn, [Failure(key=walk.key, part="backtest", reason=reason)])
            return _unmade(ticker, "backtest", "failed", reason)
        stored_backtests.store(
            conn,
            {walk.key: reports},
            plan=settings.backtest,
            networks={walk.key: networks},
            window_leaks=window_leaks,
        )
    return _made(ticker, "backtest", "trained", networks)


def _made(ticker: str, part: Part, status: Status, networks: Sequence[TrainedNetwork]) -> TrainingOutcome:
    return TrainingOutcome(ticker=ticker, part=part, status=status, networks=tuple(networks))


def _unmade(ticker: str, part: Part, status: Status, reason: str) -> TrainingOutcome:
    return TrainingOutcome(ticker=ticker, part=part, status=status, reason=reason)
