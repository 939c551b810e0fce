"""Replay: a row of the ledger computed again, whatever happened to bars, settings, files and tables since."""

from datetime import date

import polars as pl
import pytest

from ldtm_lib.audit.replay import Replay, replay
from ldtm_lib.errors import CalendarError, ReplayImpossible, UnknownTicker
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.ledger.drafts import Draft
from ldtm_lib.ledger.intervals import BOUNDS
from ldtm_lib.ledger.simulations import simulation_of_row
from ldtm_lib.ledger.snapshots import SAME_PRICE
from ldtm_lib.prices.splits import Split
from ldtm_lib.settings import ArchitectureConfig, ForecastConfig, WindowConfig
from tests.integration.environment import NEXT_DAY, ONE_MONTH, RUN_DATE, ForecastEnvironment, after
from tests.integration.gate_fixtures import pass_the_gate

EVERYTHING = {
    "stored_window",
    "bars_recorded_until",
    "window_sha256",
    "run_date_close",
    "next_day_pred",
    "next_monday_pred",
    "one_month_pred",
    "direction_pred",
    "model_version",
    "next_day_session",
    "next_monday_session",
    "one_month_session",
    "volatility",
}


def again(environment: ForecastEnvironment, ticker: str = "AAPL", run_date: date = RUN_DATE) -> Replay:
    return replay(
        environment.conn,
        ticker,
        run_date,
        simulation_of_row(environment.conn, ticker, run_date),
        folder=environment.folder,
        settings=environment.settings,
        calendar=environment.calendar,
    )


def differences(found: Replay) -> dict[str, str | None]:
    return {compared.what: compared.remark for compared in found.differences}


@pytest.fixture
def forecast(environment: ForecastEnvironment) -> ForecastEnvironment:
    """An environment with one forecast on record."""
    environment.ready("AAPL")
    (row,) = environment.take("AAPL").rows
    assert row.abstained_reason is None
    environment.conn.commit()
    return environment


def alter(environment: ForecastEnvironment, table: str, change: str) -> None:
    """What only the owner of a table can do."""
    environment.conn.execute(f"alter table {table} disable trigger user")  # type: ignore[arg-type]
    environment.conn.execute(f"update {table} set {change}")  # type: ignore[arg-type]


def test_a_forecast_computed_again_is_equal_to_the_bit(forecast: ForecastEnvironment) -> None:
    found = again(forecast)
    assert (found.is_equal, found.is_equal_to_the_bit, found.left_out) == (True, True, None)
    assert {compared.what for compared in found.comparisons} == EVERYTHING
    assert found.as_dict()["is_equal"] is True
    assert again(forecast).row == found.row, "a replay writes nothing"


def test_every_field_of_a_forecast_is_compared_or_was_needed_to_compute_it() -> None:
    needed = {"ticker", "run_date", "checkpoint_id", "checkpoint_sha256", "model_status", "abstained_reason"}
    needed |= {"neutral_band", "backend"}
    assert set(Draft.__dataclass_fields__) == (EVERYTHING - {"stored_window"}) | needed | {*BOUNDS}


def test_bars_that_came_later_do_not_enter(forecast: ForecastEnvironment) -> None:
    before = [window.sha256 for window in forecast.make_windows(["AAPL"])]
    forecast.deliver(forecast.bars(["AAPL"]).with_columns(pl.col("volume") + pl.int_range(pl.len()) % 7 * 1000))
    assert [window.sha256 for window in forecast.make_windows(["AAPL"])] != before
    assert again(forecast).is_equal_to_the_bit
    split = Split(ticker="AAPL", session=NEXT_DAY, ratio=2.0)
    forecast.deliver(after(split, forecast.bars(["AAPL"], num_bars=1, last=NEXT_DAY)), split)
    (window,) = forecast.make_windows(["AAPL"])
    assert window.close == forecast.bars(["AAPL"])["close"][-1] / 2
    assert again(forecast).is_equal_to_the_bit


def test_a_bar_of_the_past_that_was_recorded_late_does_not_enter(environment: ForecastEnvironment) -> None:
    bars = environment.bars(["AAPL"])
    in_the_warm_up = bars["session"].to_list()[200]
    environment.deliver(bars.filter(pl.col("session") != in_the_warm_up))
    (shown,) = environment.make_windows(["AAPL"])
    environment.network("AAPL")
    environment.take("AAPL")
    environment.deliver(bars)
    (now,) = environment.make_windows(["AAPL"])
    assert now.sha256 != shown.sha256
    found = again(environment)
    assert found.is_equal_to_the_bit
    assert found.row.window_sha256 == shown.sha256


def test_a_network_is_built_as_it_was_whatever_the_settings_say_now(forecast: ForecastEnvironment) -> None:
    changed = forecast.with_settings(
        architecture=ArchitectureConfig(hidden=16, num_layers=1),
        window=WindowConfig(window_sessions=20),
        forecast=ForecastConfig(without_active="candidate"),
    )
    assert again(changed).is_equal_to_the_bit


def test_a_direction_is_made_with_the_band_on_record_or_with_todays_where_there_is_none(
    forecast: ForecastEnvironment,
) -> None:
    strict = forecast.with_settings(forecast=ForecastConfig(neutral_band=0.0))
    assert again(strict).row.direction_pred == "neutral"
    assert again(strict).is_equal_to_the_bit
    alter(forecast, "snapshot", "neutral_band = null, volatility = null")
    found = again(strict)
    assert differences(found) == {"direction_pred": "with today's neutral_band of 0"}
    assert "volatility" not in {compared.what for compared in found.comparisons}, "version 1 had none"


def test_a_warm_up_of_another_length_is_named_with_how_far_the_inputs_are_apart(forecast: ForecastEnvironment) -> None:
    found = differences(again(forecast.with_settings(window=WindowConfig(warmup_bars=40))))
    assert "of its 330 inputs differ from those stored, by up to" in (found["window_sha256"] or "")


def test_a_candidate_that_was_promoted_since_is_found_under_its_new_name(environment: ForecastEnvironment) -> None:
    lenient = environment.with_settings(forecast=ForecastConfig(without_active="candidate"))
    environment.deliver(environment.bars(["AAPL"]))
    environment.make_windows(["AAPL"])
    environment.network("AAPL", status="candidate")
    (row,) = lenient.take("AAPL").rows
    assert row.model_status == "candidate"
    next(environment.folder.glob("*.pt")).rename(environment.folder / "promoted.pt")
    environment.conn.execute(
        "update checkpoint set status = 'active', file_name = 'promoted.pt', major = 1, version = 'v1',"
        " activated_at = now()"
    )
    pass_the_gate(environment.conn)
    assert again(environment).is_equal_to_the_bit


def test_a_checkpoint_that_is_gone_or_altered_is_reported_with_the_remedy(forecast: ForecastEnvironment) -> None:
    (path,) = forecast.folder.glob("*.pt")
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReplayImpossible) as refused:
        again(forecast)
    assert str(refused.value).startswith(
        f"the forecast of AAPL on 2013-01-11 cannot be computed again: checkpoint {path} was altered: its SHA-256 is "
    )
    assert "restore the file from a copy" in str(refused.value)
    path.unlink()
    with pytest.raises(ReplayImpossible, match=f"checkpoint {path} is missing; restore the file from a copy"):
        again(forecast)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("next_day_pred = next_day_pred * 1.001", {"next_day_pred"}),
        ("one_month_pred = one_month_pred + 1", {"one_month_pred"}),
        ("run_date_close = run_date_close * 2", {"run_date_close"}),
        ("window_sha256 = repeat('0', 64)", {"window_sha256", "stored_window"}),
        ("one_month_session = one_month_session + 1", {"one_month_session"}),
        ("model_version = 'v2.2012-12-31'", {"model_version"}),
        (
            "direction_pred = case direction_pred when 'bullish' then 'bearish' else 'bullish' end",
            {"direction_pred"},
        ),
        ("bars_recorded_until = bars_recorded_until + interval '1 minute'", {"bars_recorded_until"}),
    ],
)
def test_what_the_owner_of_the_table_altered_in_a_row_is_named(
    forecast: ForecastEnvironment, change: str, named: set[str]
) -> None:
    alter(forecast, "snapshot", change)
    found = again(forecast)
    assert not found.is_equal
    assert set(differences(found)) == named


def test_a_row_that_names_another_checkpoint_than_the_registry_is_reported(forecast: ForecastEnvironment) -> None:
    alter(forecast, "snapshot", "checkpoint_sha256 = repeat('0', 64)")
    with pytest.raises(ReplayImpossible, match=r"its row names the checkpoint 0{64} of AAPL, and number \d+ in the "):
        again(forecast)
    alter(forecast, "snapshot", "checkpoint_id = null")
    with pytest.raises(ReplayImpossible, match=r"checkpoint None is not in the registry; restore a database backup"):
        again(forecast)


def test_a_model_that_is_said_to_be_younger_than_its_forecast_is_named(forecast: ForecastEnvironment) -> None:
    alter(forecast, "checkpoint", f"trained_on = '{NEXT_DAY}'")
    found = {compared.what: compared.recomputed for compared in again(forecast).differences}
    assert found["abstained_reason"] == (
        "has no model for this run date: v1.2012-12-31 was trained on bars up to 2013-01-14"
    )
    assert found["next_day_pred"] is None


def test_bars_altered_by_their_owner_are_noticed_by_the_window(forecast: ForecastEnvironment) -> None:
    alter(forecast, "bar", f"close = close * 0.999, low = low * 0.998 where session = '{RUN_DATE}'")
    found = differences(again(forecast))
    assert {"window_sha256", "run_date_close"} <= set(found)
    assert "stored_window" not in found


def test_a_stored_window_that_was_altered_is_named_and_the_forecast_is_still_equal(
    forecast: ForecastEnvironment,
) -> None:
    alter(forecast, "input_window", "inputs = set_byte(inputs, 7, 99)")
    assert differences(again(forecast)) == {"stored_window": "the stored window was altered"}
    alter(forecast, "input_window", "window_sha256 = repeat('0', 64)")
    assert differences(again(forecast)) == {"stored_window": "no such window is stored"}


def test_prices_within_the_tolerance_are_equal_and_said_not_to_be_to_the_bit(forecast: ForecastEnvironment) -> None:
    alter(forecast, "snapshot", f"next_day_pred = next_day_pred * (1 + {SAME_PRICE / 2})")
    found = again(forecast)
    assert (found.is_equal, found.is_equal_to_the_bit) == (True, False)


def test_of_a_row_that_abstained_the_window_is_made_again(environment: ForecastEnvironment) -> None:
    environment.deliver(pl.concat([environment.bars(["AAPL"]), environment.bars(["GOOG"], last=date(2013, 1, 10))]))
    environment.make_windows(["AAPL", "GOOG", "FB"])
    environment.network("GOOG")
    environment.take("AAPL", "GOOG", "FB", "IBM")
    environment.deliver(environment.bars(["AAPL", "GOOG", "FB"]).with_columns(pl.col("volume") * 2))
    aapl, goog, facebook, ibm = (again(environment, ticker) for ticker in ("AAPL", "GOOG", "FB", "IBM"))
    assert aapl.is_equal_to_the_bit
    assert aapl.left_out == "AAPL has no active model: there is no forecast to compute again"
    assert {"stored_window", "window_sha256", "run_date_close"} <= {compared.what for compared in aapl.comparisons}
    for found in (goog, facebook):
        assert found.is_equal
        (why,) = (compared for compared in found.comparisons if compared.what == "not_ready")
        assert why.on_record == why.recomputed == "has no bar for 2013-01-11"
    assert ibm.is_equal
    assert ibm.left_out == (
        "IBM has no active model: there is no forecast to compute again, and no window to make again"
    )
    alter(environment, "input_window", "not_ready = 'has 3 bars, 50 are needed' where ticker = 'GOOG'")
    assert differences(again(environment, "GOOG")) == {"not_ready": None}


def test_bars_that_changed_while_a_window_was_made_are_no_difference(environment: ForecastEnvironment) -> None:
    bars = environment.bars(["AAPL"])
    environment.deliver(bars)
    windows = environment.make_windows(["AAPL"])
    environment.deliver(bars.clear(), Split(ticker="AAPL", session=NEXT_DAY, ratio=2.0))
    assert input_windows.record(environment.conn, windows).outdated == ("AAPL",)
    environment.network("AAPL")
    (row,) = environment.take("AAPL").rows
    assert row.abstained_reason == input_windows.CHANGED_MEANWHILE
    found = again(environment)
    assert found.is_equal
    assert (found.left_out or "").endswith("and no window to make again")


def test_a_row_that_is_not_there_is_reported_with_what_is(forecast: ForecastEnvironment) -> None:
    with pytest.raises(CalendarError, match="2013-01-12 is not a session"):
        again(forecast, run_date=date(2013, 1, 12))
    with pytest.raises(ReplayImpossible) as missing:
        again(forecast, run_date=ONE_MONTH)
    assert str(missing.value) == (
        "AAPL has no row for 2013-02-12; it has 1 row, 2013-01-11 to 2013-01-11: name a run date of one of them"
    )
    with pytest.raises(ReplayImpossible, match="MSFT has no row in the record; `ldtm forecasts` shows"):
        again(forecast, "MSFT")
    with pytest.raises(UnknownTicker, match="TSLA is not in the universe"):
        again(forecast, "TSLA")
    with pytest.raises(ReplayImpossible, match="AAPL has no row by simulation 2 in the record"):
        replay(
            forecast.conn,
            "AAPL",
            RUN_DATE,
            2,
            folder=forecast.folder,
            settings=forecast.settings,
            calendar=forecast.calendar,
        )


def test_a_ticker_that_left_the_file_is_still_replayed(forecast: ForecastEnvironment) -> None:
    assert again(forecast.with_settings(tickers=("MSFT",))).is_equal_to_the_bit


def test_a_row_is_compared_with_the_newest_window_that_was_there_before_it(environment: ForecastEnvironment) -> None:
    """Bars that went back to what they were: two equal windows are on record, with another one between them."""
    environment.network("AAPL")
    for volume in (1.0, 2.0, 1.0):
        environment.deliver(environment.bars(["AAPL"]).with_columns(pl.col("volume") * volume))
        environment.make_windows(["AAPL"])
    environment.take("AAPL")
    found = again(environment)
    assert found.is_equal_to_the_bit
    assert "bars_recorded_until" in {compared.what for compared in found.comparisons}
