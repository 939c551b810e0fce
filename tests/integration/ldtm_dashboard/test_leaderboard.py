"""The leaderboard of the dashboard: the same figures as the command's, over other windows and one version."""

from dataclasses import asdict, replace
from datetime import date

import polars as pl
import pytest

from ldtm_dashboard.frames.leaderboard import (
    WINDOWS,
    BoardFilter,
    board_view,
    row_kinds,
    universe_over_time,
    versions,
)
from ldtm_dashboard.reading import Reader
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.leaderboard import leaderboard
from ldtm_lib.ledger.simulations import LATE, LIVE, RowKind
from ldtm_lib.ledger.track_record import track_record
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.ledger_rows import SIMULATED, LedgerRows

FIGURES = {"accuracy": "direction_accuracy", "num_filled": "num_filled", "num_directional": "num_directional"}
SAME = (
    *("accuracy_low", "accuracy_high", "coverage", "next_day_error", "next_day_no_change_error"),
    *("next_monday_error", "one_month_error", "one_month_no_change_error"),
)


def test_over_30_sessions_it_is_the_leaderboard_of_the_library(large_conn: Connection) -> None:
    """`leaderboard` is the plain reference: two statements for one rule."""
    board, plain = board_view(large_conn, BoardFilter(), {}), leaderboard(large_conn)
    assert board.tickers["ticker"].to_list() == [row.ticker for row in plain.rows]
    for shown, row in zip(board.tickers.iter_rows(named=True), plain.rows, strict=True):
        score = asdict(row.score)
        assert (shown["rank"], shown["rank_low"], shown["rank_high"]) == (row.rank, row.rank_low, row.rank_high)
        assert shown["gate_reasons"] == list(row.gate_reasons)
        for name, of_score in {**FIGURES, **dict(zip(SAME, SAME, strict=True))}.items():
            # a ticker without a filled row has no count here and 0 there; sums are taken in another order
            assert (shown[name] or 0) == pytest.approx(score[of_score] or 0, rel=1e-12), (row.ticker, name)
    universe = asdict(plain.universe)
    assert board.universe["num_filled"] == universe["num_filled"]
    assert board.universe["next_day_error"] == pytest.approx(universe["next_day_error"], rel=1e-12)


def test_a_window_counts_that_many_sessions_of_each_ticker(large_conn: Connection) -> None:
    for num_sessions in WINDOWS:
        board = board_view(large_conn, BoardFilter(num_sessions=num_sessions), {})
        filled = board.tickers["num_filled"].drop_nulls()
        assert filled.len() == 18, "two tickers have no model and abstain"
        assert filled.max() == num_sessions


def test_a_version_counts_its_own_forecasts_alone(large_conn: Connection) -> None:
    newest, older, *_ = versions(large_conn)
    board = board_view(large_conn, BoardFilter(num_sessions=252, version=older), {})
    first = board.universe["first_run_date"]
    assert isinstance(first, date)
    assert str(first) >= older.removeprefix("v1.")
    assert (
        board.universe["num_filled"]
        == large_conn.execute(
            "select count(*) from snapshot where model_version = %s and next_day_actual is not null", (older,)
        ).fetchone()[0]
    )  # pyright: ignore[reportOptionalSubscript]
    assert newest > older
    nobody = board_view(large_conn, BoardFilter(version="v9.2000-01-03"), {})
    assert (nobody.universe["num_filled"], nobody.universe_accuracy) == (0, None)


def test_a_ticker_that_left_stays_on_the_board_and_says_so(large: Reader, large_conn: Connection) -> None:
    board = board_view(large_conn, BoardFilter(), dict(large.project.settings.retired))
    statuses = dict(board.tickers.select("ticker", "status").iter_rows())
    assert statuses["T004"] == "left the universe on 2026-01-02"
    assert statuses["T000"].startswith("active v1.")
    assert statuses["T008"] == "refused: direction right in 49.0% of 310 calls, at least 52.0% are needed"


def test_the_luck_of_as_many_coins_stands_beside_the_lucky_tickers(large_conn: Connection) -> None:
    board = board_view(large_conn, BoardFilter(), {})
    assert board.num_expected_above == pytest.approx(18 * 0.025)
    assert board.num_above_coin == board.tickers.filter(pl.col("accuracy_low") > 0.5).height


def test_the_universe_over_time_is_the_track_record(large_conn: Connection) -> None:
    points = universe_over_time(large_conn, LIVE, 1000)
    plain = track_record(large_conn).accuracy
    assert points["run_date"].to_list() == [point.run_date for point in plain]
    assert points["accuracy"].to_list() == pytest.approx([point.accuracy.value for point in plain])
    assert points["low"].to_list() == [point.accuracy.low for point in plain]
    shorter = universe_over_time(large_conn, LIVE, 60)
    assert shorter.height <= 60
    assert shorter.equals(points.tail(shorter.height))


def test_simulated_and_late_rows_are_chosen_by_name(conn: Connection, reader: Reader, calendar: Calendar) -> None:
    rows = LedgerRows(conn, calendar)
    days = calendar.between(date(2013, 1, 2), date(2013, 1, 10))
    for day in days[:3]:
        rows.forecast("AAPL", day)
    rows.forecast("MSFT", days[0], kind="late")
    for ticker in ("AAPL", "MSFT"):
        rows.bars(ticker, dict.fromkeys(days[1:5], 101.0))
    fill(conn, as_of=days[4], config=LedgerConfig())
    conn.commit()
    with reader.view() as read:
        assert row_kinds(read) == [LIVE, LATE, SIMULATED]
        counted = {
            kind.name: board_view(read, BoardFilter(rows=kind), {}).universe["num_filled"] for kind in row_kinds(read)
        }
        assert counted == {"live": 0, "late": 1, "simulation 1": 3}
        asked = replace(BoardFilter(), rows=RowKind(kind="simulated", simulation_id=1))
        (shown,) = board_view(read, asked, {}).tickers.filter(pl.col("ticker") == "AAPL").iter_rows(named=True)
        assert (shown["num_correct"], shown["accuracy"], shown["next_day_ratio"]) == (3, 1.0, 0.0)


def test_an_empty_record_has_no_tickers_and_no_points(reader: Reader) -> None:
    with reader.view() as conn:
        board = board_view(conn, BoardFilter(), {})
        assert board.tickers.is_empty()
        assert (board.universe_accuracy, board.num_expected_above) == (None, 0.0)
        assert universe_over_time(conn, LIVE, 252).is_empty()
        assert versions(conn) == []
