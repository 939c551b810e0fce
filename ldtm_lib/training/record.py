"""Retraining: trains the networks that are not on record, and records every result as soon as it is complete."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType

from ldtm_lib.database.connection import Database
from ldtm_lib.features.look_ahead import WindowLeaks
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.registry import backtests, checkpoints, failures, fitted_baselines
from ldtm_lib.registry.checkpoints import Candidate
from ldtm_lib.registry.failures import Failure
from ldtm_lib.registry.inputs import InputKey, input_key
from ldtm_lib.registry.trained_network import Part
from ldtm_lib.settings import Settings
from ldtm_lib.training.plan import PARTS, OnRecord, TrainingPlan, plan_training
from ldtm_lib.training.report import TrainingOutcome, TrainingReport
from ldtm_lib.training.run import FailedPart, FinalNetwork, TrainingContext, TrainingResult, train

NOT_SEARCHED: Mapping[str, WindowLeaks] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """The database and the folder that keep the results of a training."""

    database: Database
    folder: Path
    """The checkpoint folder."""
    window_leaks: Mapping[str, WindowLeaks] = field(default_factory=lambda: NOT_SEARCHED)
    """Results of the look-ahead check by ticker; recorded with the backtests."""

    def networks(self, keys: Mapping[str, InputKey], settings: Settings) -> OnRecord:
        """The networks on record for some keys, except those whose file is missing or altered."""
        with self.database.transaction() as conn:
            trained = checkpoints.existing(conn, self.folder, keys.values())
            finals = checkpoints.networks(conn, trained.values())
            tested = backtests.existing(conn, keys.values(), plan=settings.backtest)
            folds = backtests.networks(conn, tested.values())
        return {
            "checkpoint": {key.ticker: [finals[record.checkpoint_id]] for key, record in trained.items()},
            "backtest": {key.ticker: folds[backtest_id] for key, backtest_id in tested.items()},
        }

    def add_too_few_bars(self, plan: TrainingPlan, keys: Mapping[str, InputKey], settings: Settings) -> None:
        """Record the parts that have too few bars: the reasons, and backtests without folds."""
        short = [
            Failure(key=keys[outcome.ticker], part=outcome.part, reason=outcome.reason or "")
            for outcome in plan.settled
            if outcome.status == "too few bars"
        ]
        without_folds = {failure.key: () for failure in short if failure.part == "backtest"}
        with self.database.transaction() as conn:
            failures.record(conn, short)
            backtests.store(conn, without_folds, plan=settings.backtest, window_leaks=self.window_leaks)

    def add(self, result: TrainingResult, key: InputKey, settings: Settings) -> TrainingOutcome:
        """Record one result in a transaction of its own."""
        with self.database.transaction() as conn:
            if isinstance(result, FailedPart):
                failures.record(conn, [Failure(key=key, part=result.part, reason=result.reason)])
                return TrainingOutcome.without_networks(result.ticker, result.part, "failed", result.reason)
            if isinstance(result, FinalNetwork):
                candidate = Candidate(key=key, fit=result.fit, gpu_index=result.network.gpu_index)
                recorded = checkpoints.record_candidates(
                    conn, self.folder, [candidate], architecture=settings.architecture, seed=settings.training.seed
                )
                if result.baselines is not None:
                    fitted_baselines.store(conn, {recorded[key].network_id: result.baselines})
                return TrainingOutcome.of_networks(result.ticker, "checkpoint", "trained", [result.network])
            new = backtests.store(
                conn,
                {key: result.reports},
                plan=settings.backtest,
                networks={key: result.networks},
                window_leaks=self.window_leaks,
            )
            if key in new and result.scores:
                of_folds = {(new[key], fold): scores for fold, scores in result.scores.items()}
                fitted_baselines.store_scores(conn, of_folds)
            return TrainingOutcome.of_networks(result.ticker, "backtest", "trained", result.networks)


def retrain(
    windows: Mapping[str, WindowSet],
    context: TrainingContext,
    record: TrainingRecord,
    *,
    trained_on: date,
    parts: Collection[Part] = PARTS,
) -> TrainingReport:
    """Train the final networks and the backtests of many tickers on the bars up to a session.

    Networks on record with an intact file are up to date and skipped. If a ticker fails or the process is killed, no
    complete result is lost; running again trains only what is missing.
    """
    settings = context.settings
    known = {ticker: of_ticker.known_by(trained_on) for ticker, of_ticker in windows.items()}
    keys = {ticker: input_key(of_ticker, settings, trained_on) for ticker, of_ticker in known.items()}
    plan = plan_training(known, settings, parts=parts, on_record=record.networks(keys, settings))
    record.add_too_few_bars(plan, keys, settings)
    outcomes = [record.add(result, keys[result.ticker], settings) for result in train(plan, context)]
    return TrainingReport(trained_on=trained_on, outcomes=()).including([*plan.settled, *outcomes])
