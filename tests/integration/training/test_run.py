"""Retraining: only what is not on record, everything kept as it comes, one ticker's failure its own."""

import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ldtm_lib.backtest.folds import FoldPlan, RowSplit, furthest_session, plan_folds
from ldtm_lib.backtest.walk_forward import tasks_of
from ldtm_lib.database.connection import Database
from ldtm_lib.features.look_ahead import WindowLeaks
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models import checkpoint
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.registry import backtests
from ldtm_lib.registry.checkpoints import newest_checkpoints
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.inputs import input_key
from ldtm_lib.registry.trained_network import Part
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import BacktestConfig, Settings
from ldtm_lib.training import plan as planning
from ldtm_lib.training.plan import PARTS
from ldtm_lib.training.record import TrainingRecord, retrain
from ldtm_lib.training.report import TrainingReport
from ldtm_lib.training.run import NoCallbacks, TrainingCallbacks, TrainingContext

DAY = date(2012, 12, 14)


@pytest.fixture
def quick(small_settings: Settings) -> Settings:
    return small_settings.replace(backtest=BacktestConfig(num_folds=2, test_sessions=40))


def train(
    database: Database,
    folder: Path,
    windows: Mapping[str, WindowSet],
    settings: Settings,
    *,
    parts: Collection[Part] = PARTS,
    callbacks: TrainingCallbacks | None = None,
    window_leaks: Mapping[str, WindowLeaks] | None = None,
) -> TrainingReport:
    context = TrainingContext(settings=settings, device="cpu", callbacks=callbacks or NoCallbacks())
    record = TrainingRecord(database=database, folder=folder, window_leaks=window_leaks or {})
    return retrain(windows, context, record, trained_on=DAY, parts=parts)


class Listener:
    """Callbacks of a training that keep every call, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.epochs: list[Progress] = []

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        self.heard.append("planned")
        self.tasks = {task.name for task in tasks}

    def on_epoch(self, progress: Progress) -> None:
        self.heard.append(f"{progress.ticker} {'final' if progress.fold is None else f'fold {progress.fold}'}")
        self.epochs.append(progress)

    def on_result(self, result: Fit | FitFailed) -> None:
        self.heard.append(f"{result.task.name} ended")


def statuses(report: TrainingReport) -> dict[tuple[str, str], str]:
    return {(outcome.ticker, outcome.part): outcome.status for outcome in report.outcomes}


def test_every_ticker_gets_a_candidate_and_a_backtest_or_the_reason_why_not(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings
) -> None:
    report = train(database, tmp_path, windows, quick)
    assert statuses(report) == {
        (ticker, part): "too few bars" if ticker == "SHRT" else "trained"
        for ticker in ("AAA", "BBB", "CCC", "SHRT")
        for part in ("backtest", "checkpoint")
    }
    final, walk = report.of("checkpoint")["AAA"], report.of("backtest")["AAA"]
    assert (final.num_epochs, walk.num_epochs, walk.num_folds, walk.num_test_rows) == (2, 4, 2, 80)
    assert final.validation_loss is not None
    assert final.duration_seconds is not None
    assert (final.device, walk.device) == ("cpu", "cpu")
    short = report.of("checkpoint")["SHRT"].reason
    assert short is not None
    assert short.startswith("SHRT has 70 bars, which make 0 training rows; 60 are needed")
    with database.transaction() as conn:
        results = {
            p.ticker: p
            for p in run_gate(conn, tmp_path, [*windows, "NONE"], quick, degraded=(), run_id="test").promotions
        }
    assert results["SHRT"].outcome == "not trained"
    assert results["SHRT"].message == f"SHRT was not trained: {short}"
    assert results["NONE"].outcome == "not trained"
    for ticker in ("AAA", "BBB", "CCC"):
        rules = {rule.rule: rule for rule in results[ticker].verdict.rules}
        assert (rules["folds"].figure, rules["leakage_rows"].figure) == (2, 0)


def test_what_is_stored_is_what_training_each_network_alone_gives(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings
) -> None:
    train(database, tmp_path, windows, quick)
    known = windows["BBB"].known_by(DAY)
    key = input_key(known, quick, DAY)
    plan = plan_folds(known, quick.backtest, quick.training)[1]
    task = FitTask(
        ticker="BBB", fold=2, windows=known, training_rows=plan.training_rows, validation_rows=plan.validation_rows
    )
    (fit,) = fit_universe([task], recipe=quick.training, architecture=quick.architecture, device="cpu")
    alone = predict(fit.state, known, plan.test_rows, quick.architecture, "cpu")
    with database.transaction() as conn:
        stored = backtests.read(conn, [key], plan=quick.backtest)[key].reports[1]
        record = newest_checkpoints(conn, ["BBB"])["BBB"]
    assert np.array_equal(stored.predictions, alone)
    assert stored.train_cutoff == furthest_session(known, plan.training_rows, plan.validation_rows)
    assert stored.train_cutoff < stored.sessions[0].item()
    assert (record.trained_on, record.key) == (DAY, key)
    assert checkpoint.load(tmp_path / record.file_name, sha256=record.file_sha256, architecture=quick.architecture)


def test_a_leak_between_plan_and_trainer_is_refused_at_the_gate(
    database: Database,
    tmp_path: Path,
    windows: dict[str, WindowSet],
    quick: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leaking_tasks(of_ticker: WindowSet, folds: Sequence[FoldPlan], final: RowSplit | None) -> list[FitTask]:
        """The tasks of sound plans, each network given the first of its own test rows to learn from."""
        tasks = tasks_of(of_ticker, folds, final)
        leaks = {plan.fold: plan.test_rows[:1] for plan in folds}
        return [
            replace(task, training_rows=np.append(task.training_rows, leaks[task.fold])) if task.fold else task
            for task in tasks
        ]

    monkeypatch.setattr(planning, "tasks_of", leaking_tasks)
    train(database, tmp_path, {"AAA": windows["AAA"]}, quick)
    with database.transaction() as conn:
        (result,) = run_gate(conn, tmp_path, ["AAA"], quick, degraded=(), run_id="test").promotions
        stored = conn.execute("select num_leakage_rows from backtest_fold order by fold").fetchall()
        folds = conn.execute("select leaks, num_validation_rows from backtest_fold order by fold").fetchall()
        read = backtests.read(conn, [newest_checkpoints(conn, ["AAA"])["AAA"].key], plan=quick.backtest)
    # The furthest label of a test row is the 21st session after it: with its own session 22 are not after the cutoff.
    assert stored == [(22,), (22,)]
    # It reaches into the tests, stands behind all of validation, and is one of the test rows.
    leaks = [
        {"label over the boundary": 1, "shuffled split": num_validation + 1, "seen window": 1}
        for _, num_validation in folds
    ]
    assert [of_fold for of_fold, _ in folds] == leaks
    assert [dict(report.leaks) for backtest in read.values() for report in backtest.reports] == leaks
    assert result.outcome == "stays candidate"
    assert "44 test rows are not after the last session that training read" in result.message
    assert "seen window: 2" in result.message


def test_a_leak_into_the_final_network_is_on_record_with_it_and_refused_at_the_gate(
    database: Database,
    tmp_path: Path,
    windows: dict[str, WindowSet],
    quick: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unpurged_tasks(of_ticker: WindowSet, folds: Sequence[FoldPlan], final: RowSplit | None) -> list[FitTask]:
        """The tasks of sound plans, the final network given every row before its validation to learn from."""
        return [
            task if task.fold else replace(task, training_rows=np.arange(task.validation_rows[0]))
            for task in tasks_of(of_ticker, folds, final)
        ]

    monkeypatch.setattr(planning, "tasks_of", unpurged_tasks)
    train(database, tmp_path, {"AAA": windows["AAA"]}, quick)
    with database.transaction() as conn:
        (result,) = run_gate(conn, tmp_path, ["AAA"], quick, degraded=(), run_id="test").promotions
        record = newest_checkpoints(conn, ["AAA"])["AAA"]
        folds = conn.execute("select leaks from backtest_fold").fetchall()
    assert record.leaks == {"label over the boundary": 21}
    assert folds == [({},), ({},)]
    assert result.outcome == "stays candidate"
    assert "label over the boundary: 21" in result.message


def test_leaks_of_sampled_windows_go_on_record_with_the_backtest_and_are_refused_at_the_gate(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings
) -> None:
    found = {
        "AAA": WindowLeaks(ticker="AAA", num_sampled=3, leaks={"moved by later bars": 2}),
        "SHRT": WindowLeaks(ticker="SHRT", num_sampled=3),
    }
    three = {ticker: windows[ticker] for ticker in ("AAA", "BBB", "SHRT")}
    train(database, tmp_path, three, quick, window_leaks=found)
    with database.transaction() as conn:
        results = {
            p.ticker: p for p in run_gate(conn, tmp_path, ["AAA", "BBB"], quick, degraded=(), run_id="test").promotions
        }
        stored = dict(conn.execute("select ticker, window_leaks from backtest").fetchall())
        record = newest_checkpoints(conn, ["AAA"])["AAA"]
        (backtest,) = backtests.read(conn, [record.key], plan=quick.backtest).values()
    assert stored == {"AAA": {"sampled": 3, "moved by later bars": 2}, "BBB": None, "SHRT": {"sampled": 3}}
    assert (backtest.num_sampled_windows, backtest.window_leaks) == (3, {"moved by later bars": 2})
    assert record.leaks == {}
    assert "moved by later bars: 2" in results["AAA"].message
    assert "moved by later bars" not in results["BBB"].message


def test_nothing_after_the_day_of_training_is_read(
    database: Database, tmp_path: Path, bars: pl.DataFrame, calendar: Calendar, quick: Settings
) -> None:
    future = pl.col("session") > DAY
    altered = bars.with_columns(pl.when(future).then(pl.col("close") * 3).otherwise("close").alias("close"))
    train(database, tmp_path, windows_of(bars, calendar, quick.window), quick)
    report = train(database, tmp_path, windows_of(altered, calendar, quick.window), quick)
    assert set(statuses(report).values()) == {"up to date", "too few bars"}


def test_a_rerun_trains_only_what_is_missing(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings
) -> None:
    train(database, tmp_path, {"AAA": windows["AAA"]}, quick, parts=["checkpoint"])
    seen, again = Listener(), Listener()
    report = train(database, tmp_path, windows, quick, callbacks=seen)
    assert statuses(report)["AAA", "checkpoint"] == "up to date"
    assert statuses(report)["AAA", "backtest"] == "trained"
    assert ("AAA", None) not in {(progress.ticker, progress.fold) for progress in seen.epochs}
    assert len(seen.epochs) == 2 * (3 * 3 - 1)
    report = train(database, tmp_path, windows, quick, callbacks=again)
    assert again.heard == ["planned"]
    assert set(statuses(report).values()) == {"up to date", "too few bars"}
    assert report.of("checkpoint")["AAA"].validation_loss is not None


def test_another_recipe_or_other_data_are_trained_anew(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings
) -> None:
    one = {"AAA": windows["AAA"]}
    train(database, tmp_path, one, quick, parts=["checkpoint"])
    reseeded = quick.replace(training=quick.training.replace(seed=1))
    assert statuses(train(database, tmp_path, one, reseeded, parts=["checkpoint"])) == {
        ("AAA", "checkpoint"): "trained"
    }
    other_data = {"AAA": replace(windows["BBB"], ticker="AAA")}
    assert statuses(train(database, tmp_path, other_data, quick, parts=["checkpoint"])) == {
        ("AAA", "checkpoint"): "trained"
    }


def test_a_ticker_that_diverges_fails_alone_and_the_gate_says_why(
    database: Database, tmp_path: Path, bars: pl.DataFrame, calendar: Calendar, quick: Settings
) -> None:
    # A flat price has span 1, so that without a bound a jump to 1e25 is a label whose square float32 cannot hold.
    quick = quick.replace(training=quick.training.replace(horizon_weights="equal", max_target_move=1e30))
    wild = bars.filter(pl.col("ticker") == "CCC").with_columns(
        pl.when(pl.int_range(pl.len()) == 200).then(1e25).otherwise(50.0).alias(name)
        for name in ("open", "high", "low", "close")
    )
    both = windows_of(pl.concat([bars.filter(pl.col("ticker") == "AAA"), wild]), calendar, quick.window)
    report = train(database, tmp_path, both, quick)
    assert statuses(report) == {
        ("AAA", "backtest"): "trained",
        ("AAA", "checkpoint"): "trained",
        ("CCC", "backtest"): "failed",
        ("CCC", "checkpoint"): "failed",
    }
    reason = report.of("checkpoint")["CCC"].reason
    assert reason is not None
    with database.transaction() as conn:
        (result,) = run_gate(conn, tmp_path, ["CCC"], quick, degraded=(), run_id="test").promotions
    assert result.message == f"CCC was not trained: {reason}"


KILLED_WHILE_TRAINING = """
import json, os, signal, sys
from datetime import date
from pathlib import Path
import numpy as np
import polars as pl
from ldtm_lib.settings import ArchitectureConfig, BacktestConfig, Settings, TrainingConfig
from ldtm_lib.database.connection import Database
from ldtm_lib.features.windows import windows_of
from ldtm_lib.training.record import TrainingRecord, retrain
from ldtm_lib.training.run import TrainingContext
from ldtm_lib.sessions import exchange_calendar
given = json.loads(sys.argv[1])
settings = Settings(
    path=Path("x"), tickers=("AAA",), architecture=ArchitectureConfig(**given["architecture"]),
    training=TrainingConfig(**given["training"]), backtest=BacktestConfig(**given["backtest"]))
database = Database(url=given["url"], schema="ldtm")
windows = windows_of(pl.read_parquet(given["bars"]), exchange_calendar(), settings.window)

class KillWhenSomethingIsKept:
    def on_start(self, tasks): ...
    def on_result(self, result): ...
    def on_epoch(self, progress):
        with database.connect() as conn:
            if conn.execute("select 1 from checkpoint union all select 1 from backtest_fold").fetchone():
                os.kill(os.getpid(), signal.SIGKILL)

retrain(
    windows,
    TrainingContext(settings=settings, device="cpu", callbacks=KillWhenSomethingIsKept()),
    TrainingRecord(database=database, folder=Path(given["folder"])),
    trained_on=date.fromisoformat(given["day"]),
)
"""


def test_a_process_killed_in_the_middle_keeps_what_it_had_and_a_rerun_does_the_rest(
    database: Database, tmp_path: Path, bars: pl.DataFrame, windows: dict[str, WindowSet], quick: Settings
) -> None:
    bars.write_parquet(tmp_path / "bars.parquet")
    given = {
        "url": database.url,
        "folder": str(tmp_path / "checkpoints"),
        "bars": str(tmp_path / "bars.parquet"),
        "day": DAY.isoformat(),
        "architecture": quick.architecture.model_dump(round_trip=True),
        "training": quick.training.model_dump(round_trip=True),
        "backtest": quick.backtest.model_dump(round_trip=True),
    }
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_TRAINING, json.dumps(given)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    after = statuses(train(database, tmp_path / "checkpoints", windows, quick))
    num_kept = sum(status == "up to date" for status in after.values())
    assert 1 <= num_kept < 6
    assert sum(status == "trained" for status in after.values()) == 6 - num_kept
    whole = tmp_path / "whole"
    with database.transaction() as conn:
        records = newest_checkpoints(conn, ["AAA", "BBB", "CCC"])
        conn.execute("delete from checkpoint")
    train(database, whole, windows, quick, parts=["checkpoint"])
    with database.transaction() as conn:
        uninterrupted = newest_checkpoints(conn, ["AAA", "BBB", "CCC"])
    assert {t: r.file_sha256 for t, r in records.items()} == {t: r.file_sha256 for t, r in uninterrupted.items()}
