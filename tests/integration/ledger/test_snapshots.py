"""Snapshots: one row per ticker, forecast or abstained, from real bars, windows, files and networks."""

import hashlib
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import psycopg
import pytest
import torch

from ldtm_lib.database.connection import Database
from ldtm_lib.errors import CalendarError, LedgerRefused, UnknownTicker
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.windows import latest_windows
from ldtm_lib.ledger.drafts import direction
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.snapshots import missing_rows
from ldtm_lib.models.checkpoint import write
from ldtm_lib.models.lstm import LdtmNetwork
from ldtm_lib.prices.splits import Split
from ldtm_lib.prices.stored_bars import bars_as_of
from ldtm_lib.settings import ForecastConfig, LedgerConfig
from tests.integration.environment import NEXT_DAY, NEXT_MONDAY, ONE_MONTH, RUN_DATE, ForecastEnvironment
from tests.integration.ledger_rows import simulation


def test_every_ticker_has_a_row_that_forecasts_or_says_why_not(environment: ForecastEnvironment) -> None:
    networks = environment.ready("AAPL", "MSFT", "IBM")
    environment.deliver(pl.concat([environment.bars(["GOOG"], last=date(2013, 1, 10)), environment.bars(["FB"])]))
    windows = {w.ticker: w for w in environment.make_windows(["AAPL", "GOOG", "IBM", "FB"])}
    environment.network("GOOG")
    next(environment.folder.glob("IBM*")).write_bytes(b"PK")
    report = environment.take()
    rows = {row.ticker: row for row in report.rows}
    assert list(rows) == list(environment.settings.tickers) == list(report.written)
    assert {t: r.abstained_reason for t, r in rows.items() if t not in ("AAPL", "MSFT", "IBM")} == {
        "FB": "has no active model",
        "GOOG": "has no bar for 2013-01-11",
    }
    assert rows["IBM"].abstained_reason is not None
    assert "is truncated: its 2 bytes are not a complete archive" in rows["IBM"].abstained_reason
    assert report.num_abstained == 3
    assert report.num_bullish + report.num_neutral + report.num_bearish == 2
    assert report.model_versions == ("v1.2012-12-31",)

    row, window = rows["AAPL"], windows["AAPL"]
    assert window.inputs is not None
    assert window.close is not None
    assert window.close_min is not None
    assert window.close_max is not None
    with torch.inference_mode():
        scaled = networks["AAPL"](torch.from_numpy(window.inputs)[None])[0].double().numpy()
    prices = window.close_min + scaled * (window.close_max - window.close_min)
    assert [row.next_day_pred, row.next_monday_pred, row.one_month_pred] == pytest.approx(prices, rel=1e-6)  # float32
    assert (row.kind, row.run_date_close, row.window_sha256) == ("simulated", window.close, window.sha256)
    assert row.direction_pred == direction(prices[0], window.close, 0.001)
    assert (row.next_day_session, row.next_monday_session, row.one_month_session) == (NEXT_DAY, NEXT_MONDAY, ONE_MONTH)
    assert (
        row.checkpoint_sha256
        == hashlib.sha256((environment.folder / "AAPL_active_2012-12-31_0.pt").read_bytes()).hexdigest()
    )
    both = [("AAPL", RUN_DATE), ("AAPL", NEXT_DAY)]
    assert missing_rows(environment.conn, both) == both, "a daily run has made neither"
    assert missing_rows(environment.conn, both, simulation(environment.conn)) == [("AAPL", NEXT_DAY)]


def test_the_same_again_changes_nothing_and_another_forecast_is_refused_and_told(
    environment: ForecastEnvironment,
) -> None:
    environment.ready("AAPL", "IBM")
    first = environment.take("AAPL", "IBM")
    again = environment.take("IBM", "AAPL")
    assert (again.written, again.unchanged, again.conflicts, again.rows) == ((), ("AAPL", "IBM"), (), first.rows)

    environment.conn.execute("update checkpoint set status = 'retired', retired_at = now() where ticker = 'AAPL'")
    environment.network("AAPL", trained_on=date(2013, 1, 4), seed=9)
    other = environment.take("AAPL", "IBM")
    (conflict,) = other.conflicts
    assert (conflict.ticker, other.unchanged, other.rows) == ("AAPL", ("IBM",), first.rows)
    assert conflict.reason.startswith("the forecast of AAPL on 2013-01-11 is on record with checkpoint_sha256 ")
    assert conflict.reason.endswith("; the first one stays")

    next(environment.folder.glob("IBM*")).unlink()
    (conflict,) = environment.take("IBM").conflicts
    assert conflict.reason.startswith(
        "the forecast of IBM on 2013-01-11 is on record with abstained_reason None, now has a checkpoint that was"
    )


def test_two_processes_at_once_leave_one_row_per_ticker(database: Database, environment: ForecastEnvironment) -> None:
    environment.ready("AAPL", "MSFT", "IBM")
    environment.conn.commit()
    both_ready, reports = threading.Barrier(2), []

    def work() -> None:
        with database.transaction() as own:
            both_ready.wait()
            reports.append(replace(environment, conn=own).take("AAPL", "MSFT", "IBM"))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.conflicts for report in reports] == [(), ()]
    assert sorted(t for report in reports for t in report.written) == ["AAPL", "IBM", "MSFT"]
    assert sorted(t for report in reports for t in report.unchanged) == ["AAPL", "IBM", "MSFT"]
    assert reports[0].rows == reports[1].rows


def test_no_model_forecasts_what_it_has_seen(environment: ForecastEnvironment) -> None:
    tickers = ("AAPL", "MSFT", "IBM", "GOOG")
    environment.deliver(environment.bars(tickers))
    environment.make_windows(tickers)
    environment.network("AAPL", trained_on=RUN_DATE)
    environment.network("MSFT", trained_on=NEXT_DAY)
    environment.network("IBM", trained_on=RUN_DATE - timedelta(days=1))
    environment.network("GOOG", status="candidate")
    simulated = {row.ticker: row.abstained_reason for row in environment.take(*tickers).rows}
    assert simulated == {
        "AAPL": "has no model for this run date: v1.2013-01-11 was trained on bars up to 2013-01-11",
        "MSFT": "has no model for this run date: v1.2013-01-14 was trained on bars up to 2013-01-14",
        "IBM": None,
        "GOOG": "has no active model",
    }


def test_a_late_row_may_use_a_model_trained_on_that_session_and_no_younger_one(
    environment: ForecastEnvironment,
) -> None:
    environment.deliver(environment.bars(["AAPL", "MSFT"]))
    environment.make_windows(["AAPL", "MSFT"])
    environment.network("AAPL", trained_on=RUN_DATE)
    environment.network("MSFT", trained_on=NEXT_DAY)
    aapl, msft = environment.take("AAPL", "MSFT", simulated=False).rows
    assert (aapl.kind, aapl.abstained_reason, aapl.model_version) == ("late", None, "v1.2013-01-11")
    assert (msft.abstained_reason or "").endswith("v1.2013-01-14 was trained on bars up to 2013-01-14")


def test_a_missed_session_is_caught_up_by_the_model_that_was_active_before_a_retraining(
    environment: ForecastEnvironment, ledger_rows
) -> None:
    environment.deliver(environment.bars(["AAPL"]))
    environment.make_windows(["AAPL"])
    for day in (date(2012, 11, 30), date(2012, 12, 31), RUN_DATE):
        environment.network("AAPL", trained_on=day)
        environment.conn.execute("update checkpoint set status = 'retired', retired_at = now() where status = 'active'")
    environment.network("AAPL", trained_on=NEXT_DAY)

    def model_used(*, simulated: bool) -> tuple[str, str | None, str | None]:
        with environment.conn.transaction(force_rollback=True):
            (row,) = environment.take("AAPL", simulated=simulated).rows
        assert (row.abstained_reason is None) == (row.model_status is not None)
        return row.kind, row.model_status, row.model_version

    assert model_used(simulated=False) == ("late", "retired", "v1.2013-01-11")
    assert model_used(simulated=True) == ("simulated", "retired", "v1.2012-12-31")
    ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    assert model_used(simulated=False) == ("live", None, None), "only the active one forecasts live"
    assert model_used(simulated=True) == ("simulated", "retired", "v1.2012-12-31")


def test_candidates_forecast_only_where_settings_let_them_and_only_in_simulated_rows(
    environment: ForecastEnvironment,
) -> None:
    environment.deliver(environment.bars(["AAPL", "MSFT"]))
    environment.make_windows(["AAPL", "MSFT"])
    environment.network("AAPL", status="candidate", trained_on=date(2012, 11, 30))
    environment.network("AAPL", status="candidate", trained_on=date(2012, 12, 31))
    environment.network("AAPL", status="candidate", trained_on=RUN_DATE)
    environment.network("AAPL", status="active", trained_on=NEXT_DAY)
    environment.network("MSFT", status="candidate", trained_on=date(2012, 12, 31))
    environment.network("MSFT", status="active", trained_on=date(2012, 11, 30))
    lenient = environment.with_settings(forecast=ForecastConfig(without_active="candidate"))
    with environment.conn.transaction(force_rollback=True):
        late, _ = lenient.take("AAPL", "MSFT", simulated=False).rows
        assert (late.kind, late.model_status) == ("late", None)
        assert late.abstained_reason is not None
    aapl, msft = lenient.take("AAPL", "MSFT").rows
    assert (aapl.model_status, aapl.model_version, aapl.abstained_reason) == ("candidate", None, None)
    (trained_on,) = environment.conn.execute(
        "select trained_on from checkpoint where checkpoint_id = %s", (aapl.checkpoint_id,)
    ).fetchone() or (None,)
    assert trained_on == date(2012, 12, 31)
    assert (msft.model_status, msft.model_version) == ("active", "v1.2012-11-30")


def test_a_forecast_that_is_not_finite_abstains(environment: ForecastEnvironment) -> None:
    environment.deliver(environment.bars(["AAPL", "MSFT"]))
    environment.make_windows(["AAPL", "MSFT"])
    environment.network("MSFT")
    state = {
        name: torch.full_like(t, torch.nan)
        for name, t in LdtmNetwork(environment.settings.architecture).state_dict().items()
    }
    environment.network("AAPL")
    sha256 = write(state, environment.folder / "nan.pt", architecture=environment.settings.architecture)
    environment.conn.commit()
    environment.conn.execute("alter table checkpoint disable trigger user")
    environment.conn.execute(
        "update checkpoint set file_name = 'nan.pt', file_sha256 = %s where ticker = 'AAPL'", (sha256,)
    )
    aapl, msft = environment.take("AAPL", "MSFT").rows
    assert aapl.abstained_reason == "has a forecast that is not finite: nan, nan, nan"
    assert (aapl.next_day_pred, aapl.direction_pred, msft.abstained_reason) == (None, None, None)


def test_a_stored_window_that_was_altered_is_not_forecast_from(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    environment.conn.execute("alter table input_window disable trigger user")
    environment.conn.execute("update input_window set inputs = set_byte(inputs, 7, 99)")
    (row,) = environment.take("AAPL").rows
    assert (row.abstained_reason or "").startswith("has a stored window that was altered: its SHA-256 is ")


def test_what_cannot_be_asked_for_is_refused_with_the_remedy(environment: ForecastEnvironment) -> None:
    with pytest.raises(UnknownTicker, match="TSLA is not in the universe"):
        environment.take("TSLA")
    with pytest.raises(CalendarError, match="2013-01-12 is not a session"):
        environment.take("AAPL", run_date=date(2013, 1, 12))
    with pytest.raises(LedgerRefused, match=r"no features were made for 2013-01-11 .AAPL, FB, GOOG, ....; materialize"):
        environment.take()
    ahead = environment.calendar.offset(environment.calendar.last_closed(datetime.now(UTC)), 1)
    with pytest.raises(LedgerRefused, match=f"session {ahead} closes at .*; take its snapshots afterwards"):
        environment.take("AAPL", run_date=ahead)
    assert environment.conn.execute("select count(*) from snapshot").fetchone() == (0,)


def test_a_ticker_whose_features_were_never_made_abstains_beside_those_that_have_them(
    environment: ForecastEnvironment,
) -> None:
    environment.ready("AAPL")
    environment.network("MSFT")
    assert [row.abstained_reason for row in environment.take("AAPL", "MSFT").rows] == [
        None,
        "has no features for 2013-01-11",
    ]


def test_a_retired_ticker_has_no_row_from_the_day_it_left(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL", "IBM")
    left = environment.with_settings(retired={"IBM": RUN_DATE})
    assert [row.ticker for row in left.take("AAPL", "IBM").rows] == ["AAPL"]
    assert [row.ticker for row in environment.with_settings(retired={"IBM": NEXT_DAY}).take("AAPL", "IBM").rows] == [
        "AAPL",
        "IBM",
    ]


def test_windows_are_vintages_and_come_back_to_the_bit(environment: ForecastEnvironment) -> None:
    environment.deliver(environment.bars(["AAPL", "MSFT"]))
    windows = environment.make_windows(["AAPL", "MSFT", "FB"])
    assert input_windows.record(environment.conn, windows).unchanged == ("AAPL", "MSFT", "FB")
    stored = input_windows.read(environment.conn, RUN_DATE, ["AAPL", "MSFT", "FB", "GOOG"])
    assert sorted(stored) == ["AAPL", "FB", "MSFT"]
    for window in windows:
        back = stored[window.ticker].window
        assert (back.sha256, back.close, back.close_min, back.close_max, back.not_ready) == (
            *(window.sha256, window.close, window.close_min, window.close_max, window.not_ready),
        )
        if window.inputs is not None and back.inputs is not None:
            assert back.inputs.tobytes() == window.inputs.tobytes()
    corrected = environment.bars(["AAPL", "MSFT"]).with_columns(
        pl.when((pl.col("session") == RUN_DATE) & (pl.col("ticker") == "AAPL"))
        .then(pl.col("volume") * 2)
        .otherwise("volume")
        .alias("volume")
    )
    environment.deliver(corrected)
    again = environment.make_windows(["AAPL", "MSFT"])
    assert [w.sha256 == stored[w.ticker].window.sha256 for w in again] == [False, True]
    assert environment.conn.execute("select ticker, count(*) from input_window group by 1 order by 1").fetchall() == [
        ("AAPL", 2),
        ("FB", 1),
        ("MSFT", 1),
    ]


def test_what_a_forecast_saw_can_be_made_again_from_the_bars_of_that_moment(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    (row,) = environment.take("AAPL").rows
    environment.conn.commit()
    environment.deliver(environment.bars(["AAPL"]).with_columns(pl.col("volume") + pl.int_range(pl.len()) % 7 * 1000))
    bars = bars_as_of(environment.conn, ["AAPL"], moment=row.bars_recorded_until, last=RUN_DATE)
    (window,) = latest_windows(bars, ["AAPL"], RUN_DATE, environment.calendar, environment.settings.window)
    assert window.sha256 == row.window_sha256
    (now,) = environment.make_windows(["AAPL"])
    assert now.sha256 != row.window_sha256


def test_a_window_whose_bars_changed_while_it_was_made_is_not_ready(environment: ForecastEnvironment) -> None:
    bars = environment.bars(["AAPL", "MSFT"])
    environment.deliver(bars)
    windows = latest_windows(bars, ["AAPL", "MSFT"], RUN_DATE, environment.calendar, environment.settings.window)
    environment.deliver(bars.clear(), Split(ticker="AAPL", session=NEXT_DAY, ratio=2.0))
    recorded = input_windows.record(environment.conn, windows)
    assert (recorded.written, recorded.outdated) == (("AAPL", "MSFT"), ("AAPL",))
    stored = input_windows.read(environment.conn, RUN_DATE, ["AAPL", "MSFT"])
    assert stored["AAPL"].window.not_ready == "has bars that changed while its window was made; make its features again"
    assert stored["MSFT"].window.not_ready is None


@pytest.mark.parametrize("ratio", [2.0, 0.1])
def test_forecasts_made_before_and_after_a_split_was_noticed_are_each_scored_on_their_own_basis(
    environment: ForecastEnvironment, ratio: float
) -> None:
    tickers = ["AAPL", "MSFT"]
    environment.ready(*tickers)
    environment.take("AAPL")
    environment.conn.commit()
    old_close = environment.bars(["AAPL"])["close"][-1]
    for ticker in tickers:
        own_close = environment.bars([ticker])["close"][-1]
        following = environment.bars([ticker], num_bars=1, last=NEXT_DAY).with_columns(
            pl.lit(own_close * 1.03 / ratio).alias(name) for name in ("open", "high", "low", "close")
        )
        environment.deliver(following, Split(ticker=ticker, session=NEXT_DAY, ratio=ratio))
    environment.make_windows(["MSFT"])
    environment.take("MSFT")
    fill(environment.conn, config=LedgerConfig(), as_of=NEXT_DAY)
    rows = environment.conn.execute("select run_date_close, next_day_actual from snapshot order by ticker").fetchall()
    (aapl_close, aapl_actual), (msft_close, msft_actual) = rows
    assert aapl_close == old_close
    assert aapl_actual == pytest.approx(old_close * 1.03, rel=1e-12)
    assert msft_close == pytest.approx(environment.bars(["MSFT"])["close"][-1] / ratio, rel=1e-12)
    assert msft_actual == following["close"][0]


def test_the_band_around_no_change_is_neutral_with_its_edges() -> None:
    calls = [direction(pred, 128.0, 1 / 64) for pred in (125.9, 126.0, 128.0, 130.0, 130.1)]
    assert calls == ["bearish", "neutral", "neutral", "neutral", "bullish"], "binary fractions, so that edges are exact"
    assert direction(np.nextafter(100.0, 200), 100.0, 0.0) == "bullish"


def test_the_database_refuses_what_the_ledger_does_not_check(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    environment.conn.execute("alter table snapshot add constraint no_apples check (ticker <> 'AAPL')")
    with pytest.raises(LedgerRefused, match=r"the ledger refuses the forecasts of 2013-01-11: .*no_apples") as refused:
        environment.take("AAPL")
    assert isinstance(refused.value.__cause__, psycopg.IntegrityError)
