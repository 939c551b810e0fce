"""Fits of the baselines beside plain least squares, and what they may not read."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from ldtm_lib.backtest.folds import furthest_session, plan_final
from ldtm_lib.baselines.blas import one_blas_thread, openblas
from ldtm_lib.baselines.fit import LOG_RETURN, FittedBaselines, fit_baselines
from ldtm_lib.features.scaling import scale_prices
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import BaselineConfig, TrainingConfig, WindowConfig

CONFIG = BaselineConfig()
SOLVED = 1e-9
"""Relative: two ways to solve 331 equations of full rank in float64, of a condition number of about 1e4."""
FIRST, LAST = date(2008, 1, 2), date(2013, 3, 1)


@pytest.fixture(scope="module")
def bars(calendar: Calendar) -> pl.DataFrame:
    return SampleSource().fetch(["IBM"], FIRST, LAST).bars


@pytest.fixture(scope="module")
def windows(bars: pl.DataFrame, calendar: Calendar) -> WindowSet:
    return windows_of(bars, calendar, WindowConfig())["IBM"]


@pytest.fixture(scope="module")
def rows() -> tuple[Rows, Rows]:
    """Training and validation rows with a gap between them that no label crosses."""
    return np.arange(700), np.arange(730, 830)


def plain_ridge(windows: WindowSet, training: Rows, penalty: float) -> np.ndarray:
    """Coefficients (331, 3) from the augmented least-squares problem, whose intercept is not penalised."""
    x, y = examples(windows, training)
    width = x.shape[1]
    centred = x - x.mean(axis=0)
    penalty_rows = np.sqrt(penalty * len(x)) * np.eye(width)
    slopes = np.linalg.lstsq(np.vstack([centred, penalty_rows]), np.vstack([y, np.zeros((width, 3))]), rcond=None)[0]
    return np.vstack([slopes, y.mean(axis=0) - x.mean(axis=0) @ slopes])


def examples(windows: WindowSet, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    x = windows.gather(rows).reshape(len(rows), -1).astype(np.float64)
    close = scale_prices(windows.close[rows, None], windows.close_min[rows], windows.close_max[rows])
    return x, windows.targets[rows].astype(np.float64) - close


def test_ridge_is_that_of_the_augmented_least_squares_problem(windows: WindowSet, rows: tuple[Rows, Rows]) -> None:
    for penalty in (0.01, 1.0, 100.0):
        fitted = fit_baselines(windows, *rows, BaselineConfig(ridge_penalties=(penalty,)))
        plain = plain_ridge(windows, rows[0], penalty)
        assert fitted.ridge_penalties == (penalty,) * 3
        np.testing.assert_allclose(fitted.ridge_coefficients, plain, rtol=1e-6, atol=SOLVED)


def test_the_validation_rows_choose_the_penalty_of_each_horizon(windows: WindowSet, rows: tuple[Rows, Rows]) -> None:
    x, y = examples(windows, rows[1])
    losses = []
    for penalty in CONFIG.ridge_penalties:
        coefficients = plain_ridge(windows, rows[0], penalty)
        losses.append(((x @ coefficients[:-1] + coefficients[-1] - y) ** 2).mean(axis=0))
    expected = tuple(CONFIG.ridge_penalties[at] for at in np.argmin(losses, axis=0))
    assert fit_baselines(windows, *rows, CONFIG).ridge_penalties == expected


def test_drift_and_ar1_are_the_mean_and_the_regression_of_daily_log_returns(
    windows: WindowSet, bars: pl.DataFrame, rows: tuple[Rows, Rows]
) -> None:
    fitted = fit_baselines(windows, *rows, CONFIG)
    closes = np.log(bars.sort("session")["close"].to_numpy())
    ends = windows.ends[rows[0]]
    last, following = closes[ends] - closes[ends - 1], closes[ends + 1] - closes[ends]
    slope, intercept = np.polyfit(last, following, 1)
    assert fitted.drift == pytest.approx(following.mean(), rel=1e-12)
    # The last return is an input of the network, hence float32.
    assert (fitted.ar1_slope, fitted.ar1_intercept) == pytest.approx((slope, intercept), rel=1e-5)
    assert windows.inputs[ends, LOG_RETURN] == pytest.approx(last, rel=1e-5, abs=1e-9)


def test_a_planted_signal_is_found(windows: WindowSet, rows: tuple[Rows, Rows]) -> None:
    """Targets that are the last scaled close and half of one input are recovered on rows that no fit has seen."""
    x, y = examples(windows, np.arange(len(windows)))
    planted = replace(windows, targets=windows.targets + (0.5 * x[:, [100]] - y).astype(np.float32))
    fitted = fit_baselines(planted, *rows, BaselineConfig(ridge_penalties=(1e-6, 1.0)))
    assert fitted.ridge_penalties == (1e-6,) * 3
    later = np.arange(900, 1000)
    predicted = x[later] @ fitted.ridge_coefficients[:-1] + fitted.ridge_coefficients[-1]
    assert np.abs(predicted - 0.5 * x[later][:, [100]]).max() < 0.01


def same(one: FittedBaselines, other: FittedBaselines) -> bool:
    return parameters(one) == parameters(other)


def parameters(fitted: FittedBaselines) -> tuple[object, ...]:
    numbers = (fitted.drift, fitted.ar1_intercept, fitted.ar1_slope, *fitted.ridge_penalties)
    return numbers, fitted.ridge_coefficients.tobytes()


@pytest.fixture(scope="module")
def early(windows: WindowSet) -> tuple[Rows, Rows, date]:
    """The split of a network trained on the bars up to a day, and the last session that any of its rows reads."""
    split = plan_final(windows.known_by(date(2011, 6, 30)), TrainingConfig())
    return (
        split.training_rows,
        split.validation_rows,
        furthest_session(windows, split.training_rows, split.validation_rows),
    )


def altered(bars: pl.DataFrame, selected: pl.Expr) -> pl.DataFrame:
    prices = ("open", "high", "low", "close", "volume")
    return bars.with_columns(pl.when(selected).then(pl.col(name) * 3).otherwise(pl.col(name)) for name in prices)


def test_no_bar_after_the_training_changes_a_fit(
    bars: pl.DataFrame, windows: WindowSet, calendar: Calendar, early: tuple[Rows, Rows, date]
) -> None:
    training, validation, cutoff = early
    assert cutoff < date(2011, 7, 1)
    fitted = fit_baselines(windows, training, validation, CONFIG)
    for later in (altered(bars, pl.col("session") > cutoff), bars.filter(pl.col("session") <= cutoff)):
        again = windows_of(later, calendar, WindowConfig())["IBM"]
        assert same(fit_baselines(again, training, validation, CONFIG), fitted)
    last_bar = windows_of(altered(bars, pl.col("session") == cutoff), calendar, WindowConfig())["IBM"]
    assert not same(fit_baselines(last_bar, training, validation, CONFIG), fitted), "the cutoff itself is read"


def test_a_fit_reads_its_own_rows_alone(windows: WindowSet, early: tuple[Rows, Rows, date]) -> None:
    """Every label and price of another row is spoilt; a NaN that is read would spread over all parameters."""
    training, validation, _ = early
    others = np.setdiff1d(np.arange(len(windows)), np.concatenate([training, validation]))
    spoilt = {}
    for name in ("close", "close_min", "close_max", "target_prices", "targets", "low", "span"):
        spoilt[name] = getattr(windows, name).copy()
        spoilt[name][others] = np.nan
    fitted = fit_baselines(windows, training, validation, CONFIG)
    assert same(fit_baselines(replace(windows, **spoilt), training, validation, CONFIG), fitted)


def test_validation_rows_choose_penalties_and_nothing_else(windows: WindowSet, rows: tuple[Rows, Rows]) -> None:
    one_penalty = BaselineConfig(ridge_penalties=(1.0,))
    one = fit_baselines(windows, *rows, one_penalty)
    other = fit_baselines(windows, rows[0], np.arange(900, 1000), one_penalty)
    assert same(one, other)


def test_a_close_that_never_moves_gives_flat_baselines(calendar: Calendar) -> None:
    days = calendar.between(date(2010, 1, 4), date(2012, 6, 29))
    columns = {name: [50.0] * len(days) for name in ("open", "high", "low", "close", "volume")}
    flat = windows_of(
        pl.DataFrame({"ticker": ["FLAT"] * len(days), "session": days, **columns}), calendar, WindowConfig()
    )
    fitted = fit_baselines(flat["FLAT"], np.arange(300), np.arange(330, 380), CONFIG)
    assert (fitted.drift, fitted.ar1_slope, fitted.ar1_intercept) == (0.0, 0.0, 0.0)
    assert not fitted.ridge_coefficients.any()


def test_the_number_of_cores_does_not_change_a_bit(windows: WindowSet, rows: tuple[Rows, Rows]) -> None:
    library = openblas()
    if library is None:
        pytest.skip("numpy has no OpenBLAS here")
    before = library.num_threads
    fits: list[FittedBaselines] = []
    try:
        for num_threads in (1, 2, 4):
            library.set_num_threads(num_threads)
            with one_blas_thread():
                assert library.num_threads == 1
            assert library.num_threads == num_threads, "it is put back"
            fits.append(fit_baselines(windows, *rows, CONFIG))
    finally:
        library.set_num_threads(before)
    assert same(fits[0], fits[1])
    assert same(fits[0], fits[2])
