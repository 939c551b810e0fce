"""Backtests on record come back as they went in."""

from dataclasses import replace
from datetime import date

import numpy as np
import psycopg
import pytest

from ldtm_lib.features.look_ahead import WindowLeaks
from ldtm_lib.registry import backtests
from ldtm_lib.registry.inputs import InputKey
from ldtm_lib.settings import BacktestConfig

KEY = InputKey(ticker="AAA", trained_on=date(2012, 12, 3), architecture_sha256="a", recipe_sha256="r", data_sha256="d")
OTHER = replace(KEY, ticker="BBB")
PLAN = BacktestConfig()


def test_every_forecast_comes_back_bit_for_bit(registry, conn) -> None:
    backtests.store(conn, {KEY: registry.good, OTHER: registry.bad}, plan=PLAN)
    found = backtests.read(conn, [KEY, OTHER], plan=PLAN)
    assert set(found) == {KEY, OTHER}
    for key, stored in ((KEY, registry.good), (OTHER, registry.bad)):
        for read, written in zip(found[key].reports, stored, strict=True):
            for name in ("sessions", "close", "predictions", "actuals"):
                assert np.array_equal(getattr(read, name), getattr(written, name)), name
            for name in ("fold", "train_cutoff", "num_training_rows", "num_validation_rows", "num_epochs"):
                assert getattr(read, name) == getattr(written, name), name
            assert read.validation_loss == written.validation_loss
            assert read.num_leakage_rows == written.num_leakage_rows == 0


def test_extreme_and_broken_forecasts_come_back_too(registry, conn) -> None:
    values = np.array([0.1 + 0.2, 5e-324, 1.7976931348623157e308, np.nan, np.inf, -np.inf])
    first = registry.good[0]
    odd = replace(first, predictions=np.resize(values, (len(first.sessions), 3)))
    backtests.store(conn, {KEY: [odd]}, plan=PLAN)
    (read,) = backtests.read(conn, [KEY], plan=PLAN)[KEY].reports
    assert np.array_equal(read.predictions, odd.predictions, equal_nan=True)


def test_the_same_backtest_again_changes_nothing(registry, conn) -> None:
    backtests.store(conn, {KEY: registry.good}, plan=PLAN)
    backtests.store(conn, {KEY: registry.bad, OTHER: registry.bad}, plan=PLAN)
    found = backtests.read(conn, [KEY, OTHER], plan=PLAN)
    assert np.array_equal(found[KEY].reports[0].actuals, registry.good[0].actuals)
    assert np.array_equal(found[OTHER].reports[0].actuals, registry.bad[0].actuals)


def test_a_backtest_whose_folds_are_cut_otherwise_is_another_one(registry, conn) -> None:
    shorter = PLAN.replace(test_sessions=63)
    backtests.store(conn, {KEY: registry.good}, plan=PLAN)
    assert backtests.existing(conn, [KEY], plan=shorter) == {}
    backtests.store(conn, {KEY: registry.bad}, plan=shorter)
    assert backtests.existing(conn, [KEY], plan=shorter) != backtests.existing(conn, [KEY], plan=PLAN)


def test_a_backtest_without_a_fold_is_on_record_as_such(conn) -> None:
    backtests.store(conn, {KEY: []}, plan=PLAN)
    assert backtests.read(conn, [KEY, OTHER], plan=PLAN)[KEY].reports == ()
    assert backtests.read(conn, [], plan=PLAN) == {}


def test_leaking_rows_are_counted_again_from_the_stored_sessions(registry, conn) -> None:
    leaking = replace(registry.good[0], train_cutoff=registry.good[0].sessions[2].item())
    backtests.store(conn, {KEY: [leaking]}, plan=PLAN)
    assert backtests.read(conn, [KEY], plan=PLAN)[KEY].reports[0].num_leakage_rows == 3
    assert conn.execute("select num_leakage_rows from backtest_fold").fetchone() == (3,)


def test_a_fold_without_its_backtest_is_refused_by_the_database(conn) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        conn.execute("insert into backtest_fold values (77, 1, now(), now(), now(), 1, 1, 0, 1, 0.5)")


def test_the_leaks_of_a_fold_come_back_by_kind_and_a_fold_from_before_has_none(registry, conn) -> None:
    leaking = replace(registry.good[0], leaks={"label over the boundary": 21, "seen window": 1})
    backtests.store(conn, {KEY: [leaking, registry.good[1]]}, plan=PLAN)
    stored = conn.execute("select leaks from backtest_fold order by fold").fetchall()
    assert stored == [({"label over the boundary": 21, "seen window": 1},), ({},)]
    read = backtests.read(conn, [KEY], plan=PLAN)[KEY].reports
    assert [dict(report.leaks) for report in read] == [leaking.leaks, {}]
    conn.execute("alter table backtest_fold disable trigger user")
    conn.execute("update backtest_fold set leaks = null")
    assert [dict(report.leaks) for report in backtests.read(conn, [KEY], plan=PLAN)[KEY].reports] == [{}, {}]


def test_what_sampled_windows_knew_is_on_record_and_where_none_were_searched_nothing_is(registry, conn) -> None:
    found = {
        "AAA": WindowLeaks(ticker="AAA", num_sampled=3, leaks={"moved by later bars": 2}, first="the window of AAA"),
        "CCC": WindowLeaks(ticker="CCC", num_sampled=3),
    }
    clean = replace(KEY, ticker="CCC")
    backtests.store(
        conn, {KEY: registry.good, OTHER: registry.good, clean: registry.good}, plan=PLAN, window_leaks=found
    )
    stored = conn.execute("select window_leaks from backtest order by ticker").fetchall()
    assert stored == [({"sampled": 3, "moved by later bars": 2},), (None,), ({"sampled": 3},)]
    read = backtests.read(conn, [KEY, OTHER, clean], plan=PLAN)
    assert {key.ticker: (b.num_sampled_windows, b.window_leaks) for key, b in read.items()} == {
        "AAA": (3, {"moved by later bars": 2}),
        "BBB": (None, None),
        "CCC": (3, {}),
    }
    backtests.store(conn, {KEY: registry.good}, plan=PLAN, window_leaks={"AAA": found["CCC"]})
    assert backtests.read(conn, [KEY], plan=PLAN)[KEY].window_leaks == {"moved by later bars": 2}
