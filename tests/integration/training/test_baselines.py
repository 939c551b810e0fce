"""Baselines of a training: fitted on the rows of each network, scored on the rows that its folds were tested on."""

from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ldtm_lib.backtest.folds import plan_final, plan_folds
from ldtm_lib.baselines.fit import FittedBaselines, fit_baselines
from ldtm_lib.baselines.scores import MODELS, ModelScore, score_fold
from ldtm_lib.database.connection import Database
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.ledger.baselines import backtest_comparisons
from ldtm_lib.registry import backtests, fitted_baselines
from ldtm_lib.registry.checkpoints import newest_checkpoints
from ldtm_lib.registry.inputs import input_key
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import BacktestConfig, Settings
from ldtm_lib.training.record import TrainingRecord, retrain
from ldtm_lib.training.report import TrainingReport
from ldtm_lib.training.run import TrainingContext

DAY = date(2012, 12, 14)
ROUNDING = 1e-9
"""Relative: a weighted mean of float64 in another order."""


@pytest.fixture
def quick(small_settings: Settings) -> Settings:
    return small_settings.replace(backtest=BacktestConfig(num_folds=2, test_sessions=40))


def train(
    database: Database, folder: Path, windows: dict[str, WindowSet], settings: Settings, calendar: Calendar | None
) -> TrainingReport:
    context = TrainingContext(settings=settings, device="cpu", calendar=calendar)
    return retrain(windows, context, TrainingRecord(database=database, folder=folder), trained_on=DAY)


def expected_scores(known: WindowSet, settings: Settings, database: Database, calendar: Calendar):
    """The scores of each fold, made again from the plan and from the network's forecasts on record."""
    key = input_key(known, settings, DAY)
    with database.transaction() as conn:
        reports = backtests.read(conn, [key], plan=settings.backtest)[key].reports
    plans = plan_folds(known, settings.backtest, settings.training)
    return [
        score_fold(
            fit_baselines(known, plan.training_rows, plan.validation_rows, settings.baselines),
            known,
            plan.test_rows,
            report.predictions,
            calendar=calendar,
            band_n=np.full(len(plan.test_rows), settings.forecast.neutral_band),
        )
        for plan, report in zip(plans, reports, strict=True)
    ]


def pooled(scores: list[ModelScore]) -> ModelScore:
    """The score over the rows of all of them."""
    figures = {}
    for field in fields(ModelScore):
        values = [getattr(score, field.name) for score in scores]
        if field.name.endswith("_error"):
            figures[field.name] = float(np.average(values, weights=[score.num_next_day for score in scores]))
        else:
            figures[field.name] = values[0] if field.name == "model" else sum(values)
    return ModelScore(**figures)


def assert_equal(found: ModelScore, expected: ModelScore) -> None:
    for field in fields(ModelScore):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert one == (pytest.approx(other, rel=ROUNDING) if isinstance(other, float) else other), field.name


def test_a_training_stores_the_fit_of_its_rows_and_the_scores_of_its_folds(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings, calendar: Calendar
) -> None:
    train(database, tmp_path, windows, quick, calendar)
    with database.transaction() as conn:
        records = newest_checkpoints(conn, ["AAA", "BBB", "CCC"])
        stored = fitted_baselines.read(conn, [record.checkpoint_id for record in records.values()])
        board = backtest_comparisons(conn)
    all_scores: list[list[tuple[ModelScore, ...]]] = []
    assert [comparison.ticker for comparison in board.tickers] == ["AAA", "BBB", "CCC"], "SHRT has no fold"
    for comparison in board.tickers:
        assert comparison.ticker is not None
        known = windows[comparison.ticker].known_by(DAY)
        split = plan_final(known, quick.training)
        alone = fit_baselines(known, split.training_rows, split.validation_rows, quick.baselines)
        found = stored[records[comparison.ticker].checkpoint_id].fitted
        for field in fields(FittedBaselines):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(alone, field.name))
        all_scores.append(expected_scores(known, quick, database, calendar))
        assert comparison.network.num_next_day == 80
        for model, score in zip(MODELS, (comparison.network, *comparison.baselines), strict=True):
            at = MODELS.index(model)
            assert_equal(score, pooled([fold[at] for fold in all_scores[-1]]))
    assert board.universe is not None
    for at, score in enumerate((board.universe.network, *board.universe.baselines)):
        assert_equal(score, pooled([fold[at] for of_ticker in all_scores for fold in of_ticker]))


def test_bars_after_the_training_change_no_baseline(
    database: Database,
    tmp_path: Path,
    bars: pl.DataFrame,
    windows: dict[str, WindowSet],
    quick: Settings,
    calendar: Calendar,
) -> None:
    """The whole way from bars to tables: later bars are altered, and the stored numbers are the same to the bit."""

    def numbers(of_windows: dict[str, WindowSet], folder: Path) -> list[object]:
        with database.connect() as conn:
            conn.execute("alter table backtest_score disable trigger user")
            conn.execute("alter table backtest_prediction disable trigger user")
            conn.execute("alter table backtest_fold disable trigger user")
            conn.execute("alter table backtest disable trigger user")
            conn.execute("delete from backtest")
            conn.execute("delete from checkpoint")
            for table in ("backtest_score", "backtest_prediction", "backtest_fold", "backtest"):
                conn.execute(f"alter table {table} enable trigger user".encode())
            conn.commit()
        train(database, folder, of_windows, quick, calendar)
        with database.transaction() as conn:
            return [
                conn.execute(
                    "select ticker, drift, ar1_intercept, ar1_slope, ridge_penalties, ridge_coefficients"
                    " from fitted_baselines join checkpoint using (checkpoint_id) order by ticker"
                ).fetchall(),
                conn.execute(
                    "select ticker, fold, model, s.next_day_error, next_monday_error, one_month_error, num_directional,"
                    " num_correct from backtest_score s join backtest using (backtest_id) order by 1, 2, 3"
                ).fetchall(),
            ]

    assert bars["session"].max() > DAY
    prices = ("open", "high", "low", "close")
    altered = bars.with_columns(
        pl.when(pl.col("session") > DAY).then(pl.col(p) * 2).otherwise(pl.col(p)) for p in prices
    )
    before = numbers(windows, tmp_path / "before")
    assert len(before[0]) == 3  # type: ignore[arg-type]
    assert numbers(windows_of(altered, calendar, quick.window), tmp_path / "after") == before


def test_a_training_without_a_calendar_fits_no_baselines(
    database: Database, tmp_path: Path, windows: dict[str, WindowSet], quick: Settings
) -> None:
    train(database, tmp_path, {"AAA": windows["AAA"]}, quick, None)
    with database.transaction() as conn:
        assert conn.execute("select count(*) from checkpoint").fetchone() == (1,)
        assert conn.execute("select count(*) from fitted_baselines").fetchone() == (0,)
        assert backtest_comparisons(conn).universe is None
