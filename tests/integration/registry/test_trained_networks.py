"""How a network was trained stays on record, to the digit, and nobody rewrites it."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import psycopg
import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.registry import backtests, checkpoints
from ldtm_lib.registry.inputs import InputKey
from ldtm_lib.registry.trained_network import TrainedNetwork
from ldtm_lib.settings import BacktestConfig, Settings
from ldtm_lib.training.record import TrainingRecord, retrain
from ldtm_lib.training.report import TrainingReport
from ldtm_lib.training.run import TrainingContext

MONDAY, DAY = date(2012, 12, 3), date(2012, 12, 14)
KEY = InputKey(ticker="AAA", trained_on=MONDAY, architecture_sha256="a", recipe_sha256="r", data_sha256="d")
PLAN = BacktestConfig()


def network(fold: int | None, *, num_epochs: int = 3, **other: object) -> TrainedNetwork:
    """Figures that no rounding leaves alone."""
    figures = {
        "num_training_rows": 300,
        "num_validation_rows": 30,
        "num_epochs": num_epochs,
        "best_epoch": 2,
        "validation_loss": 0.1 + (fold or 0) / 3,
        "no_change_loss": 1 / 3,
        "horizon_errors": (1 / 7, 0.1 + 0.2, 5e-324),
        "no_change_errors": (1 / 9, 0.3, 1e-17),
        "training_losses": (0.1 + 0.2, 5e-324, 1.7976931348623157e308)[:num_epochs],
        "validation_losses": (1 / 7, 0.0, 1e-17)[:num_epochs],
        "duration_seconds": 1.5,
        "device": "cuda:1",
        "gpu_index": 1,
        "vram_peak_mib": 412.25,
        "num_test_rows": 100,
    }
    return TrainedNetwork(fold=fold, **(figures | other))


@pytest.fixture
def quick(small_settings: Settings) -> Settings:
    return small_settings.replace(backtest=BacktestConfig(num_folds=2, test_sessions=40))


def train(database: Database, folder: Path, windows: dict[str, WindowSet], settings: Settings) -> TrainingReport:
    context = TrainingContext(settings=settings, device="cpu", gpu_index=2)
    return retrain(windows, context, TrainingRecord(database=database, folder=folder), trained_on=DAY)


def test_curves_of_folds_come_back_bit_for_bit_whatever_their_lengths(registry, conn: Connection) -> None:
    trained = [network(1), network(2, num_epochs=1, vram_peak_mib=None, gpu_index=None)]
    reports = [replace(report, num_epochs=n.num_epochs) for report, n in zip(registry.good, trained, strict=True)]
    backtests.store(conn, {KEY: reports}, plan=PLAN, networks={KEY: trained})
    (backtest_id,) = backtests.existing(conn, [KEY], plan=PLAN).values()
    assert backtests.networks(conn, [backtest_id, -1]) == {backtest_id: trained, -1: []}


def test_a_fold_of_which_no_more_is_known_than_its_report_says_so(registry, conn: Connection) -> None:
    backtests.store(conn, {KEY: registry.good}, plan=PLAN)
    (backtest_id,) = backtests.existing(conn, [KEY], plan=PLAN).values()
    (first, _) = backtests.networks(conn, [backtest_id])[backtest_id]
    assert (first.fold, first.num_epochs, first.num_test_rows) == (1, 3, 100)
    unknown = (first.best_epoch, first.no_change_loss, first.training_losses, first.validation_losses)
    assert unknown == (None,) * 4
    assert (first.horizon_errors, first.no_change_errors) == (None, None)
    assert (first.duration_seconds, first.device, first.gpu_index, first.vram_peak_mib) == (None,) * 4


def test_losses_that_are_not_finite_can_be_kept_too(registry, conn: Connection) -> None:
    odd = network(1, training_losses=(np.nan, np.inf, -np.inf))
    backtests.store(conn, {KEY: registry.good[:1]}, plan=PLAN, networks={KEY: [odd]})
    (backtest_id,) = backtests.existing(conn, [KEY], plan=PLAN).values()
    (read,) = backtests.networks(conn, [backtest_id])[backtest_id]
    assert read.training_losses is not None
    assert np.array_equal(read.training_losses, (np.nan, np.inf, -np.inf), equal_nan=True)


def test_a_curve_has_one_loss_per_epoch(registry, conn: Connection) -> None:
    short = network(1, training_losses=(1.0,))
    with pytest.raises(psycopg.errors.CheckViolation, match="backtest_fold_has_one_loss_per_epoch"):
        backtests.store(conn, {KEY: registry.good[:1]}, plan=PLAN, networks={KEY: [short]})
    conn.rollback()
    with pytest.raises(psycopg.errors.CheckViolation, match="checkpoint_has_one_loss_per_epoch"):
        conn.execute(
            """insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name,
                file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
                duration_seconds, device, training_losses, validation_losses)
            values ('A', now(), 'a', 'r', 'd', 'f.pt', 's', 0, 1, 1, 2, 1, 1, 1, 'cpu', '{1,2}', '{1}')"""
        )


def test_a_rerun_shows_what_the_training_showed(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings
) -> None:
    first = train(database, tmp_path, windows, quick)
    again = train(database, tmp_path, windows, quick)
    assert {outcome.status for outcome in first.outcomes} == {"trained", "too few bars"}
    assert {outcome.status for outcome in again.outcomes} == {"up to date", "too few bars"}
    for part in ("checkpoint", "backtest"):
        for ticker in ("AAA", "BBB", "CCC"):
            before, after = first.of(part)[ticker], again.of(part)[ticker]
            assert after == replace(before, status="up to date")
            assert before.networks == after.networks
            assert before.gpu_index == 2
            assert before.vram_peak_mib is None, "on a CPU"
    final = again.of("checkpoint")["AAA"]
    (kept,) = final.networks
    assert kept.validation_losses is not None
    assert kept.best_epoch is not None
    assert kept.validation_losses[kept.best_epoch - 1] == final.validation_loss == min(kept.validation_losses)
    assert len(again.of("backtest")["AAA"].networks) == 2


def test_a_candidate_from_before_has_its_figures_and_no_curve(registry, ledger_rows, conn: Connection) -> None:
    ledger_rows.candidate("OLD", MONDAY)
    (record,) = checkpoints.newest_checkpoints(conn, ["OLD"]).values()
    (old,) = checkpoints.networks(conn, [record]).values()
    assert (old.fold, old.num_epochs, old.best_epoch, old.validation_loss, old.device) == (None, 1, 1, 1, "cpu")
    assert (old.training_losses, old.validation_losses, old.gpu_index, old.vram_peak_mib) == (None,) * 4


CHANGES = [
    "num_training_rows = 1",
    "num_validation_rows = 1",
    "num_epochs = num_epochs + 1, training_losses = null, validation_losses = null",
    "best_epoch = 1",
    "validation_loss = 0.1",
    "no_change_loss = 9",
    "horizon_errors = '{1, 2, 3}'",
    "no_change_errors = null",
    "training_losses = '{0.2, 0.1}'",
    "validation_losses = null",
    "duration_seconds = 0",
    "device = 'cuda'",
    "gpu_index = 3",
    "vram_peak_mib = 1",
    "training_method = 'another one'",
    "created_at = '2000-01-01'",
    "leaks = '{\"seen window\": 1}'",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("promoted", [False, True])
def test_the_database_refuses_to_rewrite_how_a_network_was_trained(
    registry, conn: Connection, change: str, promoted: bool
) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    if promoted:
        assert registry.gate("AAA")["AAA"].outcome == "promoted"
    with pytest.raises(psycopg.IntegrityError, match="is on record and cannot be altered"):
        conn.execute(f"update checkpoint set {change}".encode())


def test_what_a_training_recorded_is_named_in_no_other_column(conn: Connection) -> None:
    """Every column of a checkpoint but those of its promotion is among the ones that cannot be altered."""
    rows = conn.execute(
        "select column_name from information_schema.columns where table_schema = 'ldtm' and table_name = 'checkpoint'"
    ).fetchall()
    fixed = {change.split(" = ")[0] for change in CHANGES}
    identity = {"ticker", "trained_on", "architecture_sha256", "recipe_sha256", "data_sha256", "file_sha256", "seed"}
    identity |= {"restores"}
    promotion = {"checkpoint_id", "status", "file_name", "major", "version", "activated_at", "retired_at"}
    promotion |= {"file_removed_at"}
    assert {name for (name,) in rows} == fixed | identity | promotion
