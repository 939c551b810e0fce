"""One ticker: forecasts on today's price basis beside what came, errors beside no change, verdicts in words."""

from datetime import date

import polars as pl
import pytest

from ldtm_dashboard.frames.ticker import errors_over_time, forecasts_and_actuals, lifecycle_sentences, ticker_view
from ldtm_dashboard.reading import Reader
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.simulations import LIVE
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.ledger_rows import SIMULATED, LedgerRows

DAYS = (date(2013, 1, 2), date(2013, 1, 3), date(2013, 1, 4), date(2013, 1, 7))


def test_a_forecast_from_before_a_split_is_shown_on_the_basis_of_the_bars(
    conn: Connection, reader: Reader, calendar: Calendar
) -> None:
    rows = LedgerRows(conn, calendar)
    rows.bar("AAPL", DAYS[0], 100.0)
    rows.forecast("AAPL", DAYS[0], close=100.0, preds=(101.0, 102.0, 103.0))
    conn.commit()
    rows.bar("AAPL", DAYS[1], 98.0)
    fill(conn, as_of=DAYS[1], config=LedgerConfig())
    conn.commit()
    rows.split("AAPL", DAYS[2], 2.0)
    conn.commit()
    with reader.view() as read:
        found = ticker_view(read, "AAPL", SIMULATED, 92)
    assert found.bars["close"].to_list() == [50.0, 49.0]
    assert found.splits["ratio"].to_list() == [2.0]
    (shown,) = forecasts_and_actuals(found.forecasts, "next_day").iter_rows(named=True)
    assert (shown["close"], shown["pred"], shown["actual"]) == (50.0, 50.5, 49.0)
    assert shown["error"] == pytest.approx(100 * (101 / 98 - 1)), "a split changes no relative error"
    assert shown["no_change_error"] == pytest.approx(100 * (100 / 98 - 1))


def test_errors_are_means_of_up_to_30_forecasts(large_conn: Connection) -> None:
    found = ticker_view(large_conn, "T000", LIVE, 1097)
    errors = errors_over_time(found.forecasts, "next_day")
    plain = forecasts_and_actuals(found.forecasts, "next_day").filter(pl.col("actual").is_not_null())
    assert errors["error"][0] == plain["error"][0]
    assert errors["error"][-1] == pytest.approx(plain["error"].tail(30).mean())
    assert errors["no_change_error"][-1] == pytest.approx(plain["no_change_error"].tail(30).mean())
    assert found.calibration[0].predicted < found.calibration[-1].predicted


def test_a_span_limits_bars_and_forecasts(large_conn: Connection) -> None:
    found = ticker_view(large_conn, "T000", LIVE, 92)
    first, last = found.bars["session"][0], found.bars["session"][-1]
    assert (last - first).days < 92
    assert found.forecasts["run_date"][0] >= first


def test_the_life_of_a_version_and_its_verdict_are_sentences(large_conn: Connection) -> None:
    found = ticker_view(large_conn, "T000", LIVE, 92)
    newest, before, *_ = lifecycle_sentences(found.versions)
    assert "retired" not in newest
    assert ", followed by v1." in before
    card = found.cards[0]
    assert "A coin would have been right at least as often with probability 10%" in " ".join(card)
    refused = ticker_view(large_conn, "T008", LIVE, 92)
    assert refused.versions == ()
    assert "T008 was not promoted: it failed the only rule of the gate." in refused.cards[0]


def test_a_ticker_without_anything_is_empty(reader: Reader) -> None:
    with reader.view() as conn:
        found = ticker_view(conn, "AAPL", LIVE, 92)
    assert (found.bars.height, found.forecasts.height, found.calibration, found.versions, found.cards) == (
        0,
        0,
        (),
        (),
        (),
    )
