"""Baseline forecasts on record: written with their snapshots, from the same windows, scored on the same rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import date
from typing import Any

import numpy as np
import psycopg
import pytest

from ldtm_lib.audit.sealing import create_seal
from ldtm_lib.audit.verify import verify
from ldtm_lib.baselines.fit import FittedBaselines
from ldtm_lib.baselines.forecast import BASELINES, BaselineRows, forecast_baselines
from ldtm_lib.baselines.scores import MODELS, ModelScore
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.ledger.baselines import backtest_comparisons, comparisons
from ldtm_lib.ledger.drafts import direction
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.leaderboard import leaderboard
from ldtm_lib.ledger.snapshots import SnapshotReport
from ldtm_lib.registry import fitted_baselines
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration import gate_fixtures
from tests.integration.environment import ONE_MONTH, RUN_DATE, ForecastEnvironment
from tests.integration.ledger_rows import SIMULATED

ROUNDING = 1e-9
"""Relative: averages of float64 in another order."""
RUN_DATES = (date(2013, 1, 11), date(2013, 1, 14), date(2013, 1, 15), date(2013, 1, 16))


def fitted(seed: int, *, num_inputs: int = 330) -> FittedBaselines:
    """Parameters as a fit might have them, for a network of one training and one validation row."""
    random = np.random.default_rng(seed)
    return FittedBaselines(
        num_training_rows=1,
        num_validation_rows=1,
        drift=random.normal(0, 0.002),
        ar1_intercept=random.normal(0, 0.002),
        ar1_slope=-0.3,
        ridge_penalties=(0.1, 1.0, 10.0),
        ridge_coefficients=random.normal(0, 0.01, (num_inputs + 1, 3)),
    )


def checkpoint_of(conn: Connection, ticker: str) -> int:
    row = conn.execute("select max(checkpoint_id) from checkpoint where ticker = %s", (ticker,)).fetchone()
    assert row is not None
    return row[0]


def equip(environment: ForecastEnvironment, *tickers: str) -> dict[str, FittedBaselines]:
    """Bars, windows, active networks and fitted baselines."""
    environment.ready(*tickers)
    made = {ticker: fitted(seed) for seed, ticker in enumerate(tickers)}
    fitted_baselines.store(environment.conn, {checkpoint_of(environment.conn, t): each for t, each in made.items()})
    return made


def on_record(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        """select ticker, run_date, baseline, next_day_pred, next_monday_pred, one_month_pred, direction_pred
        from baseline_forecast order by 1, 2, 3"""
    ).fetchall()


@contextmanager
def taken_back(environment: ForecastEnvironment) -> Iterator[None]:
    with environment.conn.transaction(force_rollback=True):
        yield


def test_fitted_baselines_come_back_bit_for_bit(environment: ForecastEnvironment) -> None:
    made = equip(environment, "AAPL", "MSFT")
    ids = {ticker: checkpoint_of(environment.conn, ticker) for ticker in made}
    found = fitted_baselines.read(environment.conn, [*ids.values(), 99])
    assert set(found) == set(ids.values())
    for ticker, each in made.items():
        stored = found[ids[ticker]]
        assert stored.checkpoint_id == ids[ticker]
        for field in fields(FittedBaselines):
            np.testing.assert_array_equal(getattr(stored.fitted, field.name), getattr(each, field.name))


def test_a_row_has_the_baselines_of_its_own_window(environment: ForecastEnvironment) -> None:
    made = equip(environment, "AAPL", "MSFT")
    report = environment.take("AAPL", "MSFT", "IBM")
    assert (report.num_with_baselines, report.baseline_notes) == (2, ())
    windows = input_windows.read(environment.conn, RUN_DATE, ["AAPL", "MSFT"])
    expected: list[tuple[Any, ...]] = []
    for ticker, each in made.items():
        window = windows[ticker].window
        assert window.inputs is not None
        assert window.close is not None
        rows = BaselineRows(
            inputs_NTI=window.inputs[None],
            close_N=np.array([window.close]),
            close_min_N=np.array([window.close_min]),
            close_max_N=np.array([window.close_max]),
            num_sessions_NH=np.array([[1, 1, 21]]),  # of a Friday
        )
        for baseline, prices in sorted(forecast_baselines([each], rows).items()):
            said = direction(prices[0, 0], window.close, environment.settings.forecast.neutral_band)
            expected.append((ticker, RUN_DATE, baseline, *prices[0].tolist(), said))
    found = on_record(environment.conn)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    for row, plain in zip(found, expected, strict=True):
        assert row[3:6] == pytest.approx(plain[3:6], rel=ROUNDING)
        assert row[6] == plain[6]


def test_the_same_session_again_adds_nothing_and_changes_nothing(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL")
    environment.take("AAPL")
    rows = environment.conn.execute("select * from baseline_forecast").fetchall()
    again = environment.take("AAPL")
    assert (again.written, again.num_with_baselines, again.baseline_notes) == ((), 0, ())
    assert environment.conn.execute("select * from baseline_forecast").fetchall() == rows
    assert len(rows) == len(BASELINES)


def test_baselines_are_never_changed(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL")
    environment.take("AAPL")
    for change, message in (
        ("update baseline_forecast set next_day_pred = 1", "rows of baseline_forecast are never changed"),
        ("delete from baseline_forecast", "rows of baseline_forecast are never changed"),
        ("truncate baseline_forecast", "rows of baseline_forecast are never changed"),
        ("update fitted_baselines set drift = 0", "are on record and cannot be altered"),
        ("delete from fitted_baselines", "are on record and cannot be altered"),
        ("truncate fitted_baselines cascade", "never changed or removed"),
    ):
        with pytest.raises(psycopg.IntegrityError, match=message), taken_back(environment):
            environment.conn.execute(change.encode())


def test_a_baseline_is_recorded_with_its_snapshot_or_not_at_all(environment: ForecastEnvironment) -> None:
    """Later the outcome might be known; the database compares its own two moments."""
    environment.ready("AAPL")
    environment.take("AAPL")
    environment.conn.commit()
    checkpoint_id = checkpoint_of(environment.conn, "AAPL")
    fitted_baselines.store(environment.conn, {checkpoint_id: fitted(0)})
    add = """insert into baseline_forecast (ticker, run_date, simulation_id, baseline, checkpoint_id, recorded_at,
            next_day_pred, next_monday_pred, one_month_pred, direction_pred)
        select ticker, run_date, simulation_id, 'ridge', %s, recorded_at, 1, 1, 1, 'bearish' from snapshot"""
    with pytest.raises(psycopg.IntegrityError, match="a baseline is recorded with it or not at all"):
        environment.conn.execute(add.encode(), (checkpoint_id,))


def test_a_baseline_stands_beside_the_forecast_of_its_own_network(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL", "MSFT")
    add = """insert into baseline_forecast (ticker, run_date, simulation_id, baseline, checkpoint_id, recorded_at,
            next_day_pred, next_monday_pred, one_month_pred, direction_pred)
        select ticker, run_date, simulation_id, 'ridge', %s, recorded_at, 1, 1, 1, 'bearish' from snapshot
        where ticker = %s"""
    environment.conn.execute("alter table baseline_forecast disable trigger baseline_forecast_is_append_only")
    environment.take("AAPL", "IBM")
    environment.conn.execute("delete from baseline_forecast")
    other = checkpoint_of(environment.conn, "MSFT")
    for ticker, message in (
        ("AAPL", "do not stand beside the forecast of AAPL"),
        ("IBM", "IBM abstains on 2013-01-11"),
    ):
        with pytest.raises(psycopg.IntegrityError, match=message), taken_back(environment):
            environment.conn.execute(add.encode(), (other, ticker))


def test_baselines_fitted_on_other_rows_than_the_network_are_refused(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    other = replace(fitted(0), num_training_rows=2)
    with pytest.raises(psycopg.IntegrityError, match="on 2 training and 1 validation rows, the network on 1 and 1"):
        fitted_baselines.store(environment.conn, {checkpoint_of(environment.conn, "AAPL"): other})


def test_networks_without_baselines_forecast_as_before(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL")
    environment.ready("MSFT", "IBM", "GOOG", "FB", "ORCL")
    settings = environment.settings.replace(tickers=("AAPL", "MSFT", "IBM", "GOOG", "FB", "ORCL"))
    report = environment.with_settings(tickers=settings.tickers).take()
    assert len(report.written) == 6
    assert report.num_with_baselines == 1
    assert report.baseline_notes == (
        "MSFT, IBM, GOOG and 2 more: no baselines, since the network was trained before LDTM fitted them; the next "
        "training fits them",
    )


def test_baselines_of_other_windows_are_left_out_with_the_reason(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    fitted_baselines.store(environment.conn, {checkpoint_of(environment.conn, "AAPL"): fitted(0, num_inputs=220)})
    report = environment.take("AAPL")
    assert (len(report.written), report.num_with_baselines) == (1, 0)
    assert report.baseline_notes == (
        "AAPL has no baselines: they were fitted on windows of another size; train AAPL again",
    )


def test_a_forecast_that_is_not_finite_leaves_the_row_without_baselines(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    endless = fitted(0)
    endless.ridge_coefficients[:] = 1e308
    fitted_baselines.store(environment.conn, {checkpoint_of(environment.conn, "AAPL"): endless})
    with np.errstate(over="ignore", invalid="ignore"):
        report = environment.take("AAPL")
    assert (len(report.written), report.num_with_baselines) == (1, 0)
    assert report.baseline_notes == ("AAPL has no baselines: the forecast of ridge is not finite",)


def test_a_restored_network_has_the_baselines_of_the_one_that_it_restores(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL")
    first = checkpoint_of(environment.conn, "AAPL")
    gate_fixtures.retire(environment.conn, "AAPL")
    environment.conn.execute(
        """insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256,
            file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch,
            validation_loss, duration_seconds, device, major, version, restores)
        select ticker, 'active', trained_on, architecture_sha256, recipe_sha256, data_sha256, 'again.' || file_name,
            file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
            duration_seconds, device, major, version || '.again', checkpoint_id
        from checkpoint where ticker = 'AAPL'"""
    )
    gate_fixtures.record_action(environment.conn, "rollback")
    (name,) = environment.conn.execute("select file_name from checkpoint where status = 'active'").fetchone() or ("",)
    (environment.folder / name).write_bytes((environment.folder / name.removeprefix("again.")).read_bytes())
    report = environment.take("AAPL")
    assert report.num_with_baselines == 1
    assert report.rows[0].checkpoint_id != first
    assert environment.conn.execute("select distinct checkpoint_id from baseline_forecast").fetchall() == [(first,)]
    with pytest.raises(psycopg.IntegrityError, match=f"restores checkpoint {first}: its baselines are on record there"):
        fitted_baselines.store(environment.conn, {report.rows[0].checkpoint_id or 0: fitted(0)})


def test_baselines_change_no_rank_no_event_and_no_seal(
    environment: ForecastEnvironment, database: Database, calendar: Calendar
) -> None:
    equip(environment, "AAPL")
    take_and_fill(environment)
    board = leaderboard(environment.conn, SIMULATED)
    events = environment.conn.execute("select event from ledger_event order by event_id").fetchall()
    assert events.count(("forecast",)) == len(RUN_DATES)
    assert not [event for (event,) in events if "baseline" in event]
    create_seal(environment.conn)
    environment.conn.commit()
    assert verify(database, calendar).is_intact
    environment.conn.execute("alter table baseline_forecast disable trigger user")
    environment.conn.execute("delete from baseline_forecast")
    assert leaderboard(environment.conn, SIMULATED) == board
    environment.conn.commit()
    assert verify(database, calendar).is_intact


def take_and_fill(environment: ForecastEnvironment, *tickers: str) -> list[SnapshotReport]:
    """Simulated rows of four sessions and the actuals that come until the month's target of the first."""
    tickers = tickers or ("AAPL",)
    environment.deliver(environment.bars(tickers, num_bars=330, last=ONE_MONTH))
    reports: list[SnapshotReport] = []
    for run_date in RUN_DATES:
        environment.make_windows(tickers, run_date)
        reports.append(environment.take(*tickers, run_date=run_date))
    fill(environment.conn, config=LedgerConfig(), as_of=ONE_MONTH)
    return reports


def reference(environment: ForecastEnvironment, tickers: tuple[str, ...]) -> dict[str, ModelScore]:
    """The scores of some tickers' rows, in plain Python from the tables."""
    rows: dict[str, list[tuple[Any, ...]]] = {model: [] for model in MODELS}
    snapshots = environment.conn.execute(
        """select s.ticker, s.run_date, s.run_date_close, s.next_day_pred, s.next_monday_pred, s.one_month_pred,
            s.direction_pred, s.next_day_actual, s.next_monday_actual, s.one_month_actual from snapshot s"""
    ).fetchall()
    baselines = {(t, day, name): said for t, day, name, *said in on_record(environment.conn)}
    for ticker, day, close, *rest in snapshots:
        if ticker not in tickers or (ticker, day, "ridge") not in baselines:
            continue
        said, actuals = rest[:4], rest[4:]
        rows["network"].append((close, said, actuals))
        rows["no_change"].append((close, [close, close, close, "neutral"], actuals))
        for baseline in BASELINES:
            rows[baseline].append((close, baselines[ticker, day, baseline], actuals))
    return {model: plain_score(model, of_model) for model, of_model in rows.items()}


def plain_score(model: str, rows: list[tuple[Any, ...]]) -> ModelScore:
    figures: dict[str, Any] = {}
    for at, horizon in enumerate(("next_day", "next_monday", "one_month")):
        errors = [
            abs(said[at] - actuals[at]) / actuals[at] * 100 for _, said, actuals in rows if actuals[at] is not None
        ]
        figures[f"num_{horizon}"] = len(errors)
        figures[f"{horizon}_error"] = sum(errors) / len(errors) if errors else None
    calls = [(said[3], actuals[0] - close) for close, said, actuals in rows if said[3] != "neutral"]
    return ModelScore(
        model=model,  # type: ignore[arg-type]
        num_directional=len(calls),
        num_correct=sum((said == "bullish" and move > 0) or (said == "bearish" and move < 0) for said, move in calls),
        num_up=sum(move > 0 for _, move in calls),
        num_down=sum(move < 0 for _, move in calls),
        **figures,
    )


def assert_equal(found: ModelScore, plain: ModelScore) -> None:
    for field in fields(ModelScore):
        one, other = getattr(found, field.name), getattr(plain, field.name)
        assert one == (pytest.approx(other, rel=ROUNDING) if isinstance(other, float) else other), field.name


def test_scores_are_those_of_the_plain_count_on_the_same_rows(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL", "MSFT")
    environment.network("IBM", seed=9)
    take_and_fill(environment, "AAPL", "MSFT", "IBM")
    board = comparisons(environment.conn, SIMULATED)
    assert [comparison.ticker for comparison in board.tickers] == ["AAPL", "MSFT"], "IBM has no baselines"
    assert board.universe is not None
    for tickers, comparison in (
        (("AAPL",), board.tickers[0]),
        (("MSFT",), board.tickers[1]),
        (("AAPL", "MSFT"), board.universe),
    ):
        plain = reference(environment, tickers)
        assert (comparison.network.num_next_day, comparison.network.num_one_month) == (4 * len(tickers), len(tickers))
        assert (comparison.first_session, comparison.last_session) == (RUN_DATES[0], RUN_DATES[-1])
        for score in (comparison.network, *comparison.baselines):
            assert_equal(score, plain[score.model])
    network = leaderboard(environment.conn, SIMULATED)
    aapl = next(row.score for row in network.rows if row.ticker == "AAPL")
    assert board.tickers[0].network.errors == pytest.approx(
        (aapl.next_day_error, aapl.next_monday_error, aapl.one_month_error), rel=ROUNDING
    )
    assert board.tickers[0].baselines[0].errors == pytest.approx(
        (aapl.next_day_no_change_error, aapl.next_monday_no_change_error, aapl.one_month_no_change_error), rel=ROUNDING
    )


def test_rows_that_lack_a_baseline_are_compared_with_none(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL")
    take_and_fill(environment)
    environment.conn.execute("alter table baseline_forecast disable trigger user")
    environment.conn.execute("delete from baseline_forecast where run_date = %s and baseline = 'ar1'", (RUN_DATES[0],))
    board = comparisons(environment.conn, SIMULATED)
    assert board.universe is not None
    assert {s.num_next_day for s in (board.universe.network, *board.universe.baselines)} == {3}
    assert board.universe.first_session == RUN_DATES[1]
    environment.conn.execute("delete from baseline_forecast where baseline = 'ar1'")
    assert comparisons(environment.conn, SIMULATED).universe is None


def test_live_rows_and_simulated_ones_are_compared_apart(environment: ForecastEnvironment) -> None:
    equip(environment, "AAPL")
    take_and_fill(environment)
    assert comparisons(environment.conn).universe is None
    assert comparisons(environment.conn).tickers == ()
    assert backtest_comparisons(environment.conn).universe is None
