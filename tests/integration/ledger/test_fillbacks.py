"""Actuals: what is due, on which price basis, and that each is written once."""

import threading
import time
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.fillbacks import FillReport, due, fill, restated_actuals
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig

RUN_DATE = date(2013, 1, 2)
NEXT_DAY, NEXT_MONDAY, ONE_MONTH = date(2013, 1, 3), date(2013, 1, 7), date(2013, 2, 1)
END = date(2013, 3, 1)
EXACT = 1e-12
"""Relative: a few roundings of float64, in another order than PostgreSQL's."""


def _filled(conn: Connection, ticker: str = "AAPL") -> dict[str, object]:
    cursor = conn.execute("select * from snapshot where ticker = %s", (ticker,))
    row = cursor.fetchone()
    assert row is not None
    return {column.name: value for column, value in zip(cursor.description or [], row, strict=True)}


def test_every_horizon_is_filled_with_its_error_and_direction(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE, close=100, preds=(101, 99, 110), direction="bullish")
    for session, close in ((NEXT_DAY, 98), (NEXT_MONDAY, 99), (ONE_MONTH, 105)):
        ledger_rows.bar("AAPL", session, close)
    report = fill(conn, config=LedgerConfig(), as_of=END)
    row = _filled(conn)
    assert (row["next_day_actual"], row["next_monday_actual"], row["one_month_actual"]) == (98, 99, 105)
    assert row["next_day_pct_error"] == pytest.approx((101 - 98) / 98 * 100, rel=EXACT)
    assert row["next_monday_pct_error"] == 0
    assert row["one_month_pct_error"] == pytest.approx((110 - 105) / 105 * 100, rel=EXACT)
    assert (row["next_day_direction_actual"], row["next_day_direction_correct"]) == ("bearish", False)
    assert (report.num_filled, report.num_correct, report.num_directional) == (3, 0, 1)


DIRECTIONS = [
    ("bullish", 101, "bullish", True),
    ("bearish", 101, "bullish", False),
    ("bearish", 99, "bearish", True),
    ("bullish", 100, "neutral", False),
    ("neutral", 101, "bullish", None),
    ("neutral", 100, "neutral", None),
]


def test_a_neutral_forecast_is_neither_right_nor_wrong_and_an_unchanged_price_is_neutral(
    conn: Connection, ledger_rows
) -> None:
    for n, (pred, actual, _, _) in enumerate(DIRECTIONS):
        ledger_rows.forecast(f"T{n}", RUN_DATE, close=100, direction=pred)
        ledger_rows.bar(f"T{n}", NEXT_DAY, actual)
    report = fill(conn, config=LedgerConfig(), as_of=END)
    for n, (_, _, direction_actual, correct) in enumerate(DIRECTIONS):
        row = _filled(conn, f"T{n}")
        assert (row["next_day_direction_actual"], row["next_day_direction_correct"]) == (direction_actual, correct)
    assert (report.num_filled, report.num_correct, report.num_directional) == (6, 2, 4)


def test_a_split_between_forecast_and_fill_is_taken_out_of_the_actual(conn: Connection, ledger_rows) -> None:
    ratios = {"TWO": 2.0, "THREE": 3.0, "REVERSE": 0.1, "HALVES": 1.5}
    for ticker, ratio in ratios.items():
        ledger_rows.bar(ticker, RUN_DATE, 100)
        ledger_rows.forecast(ticker, RUN_DATE, close=100, preds=(101, 102, 110), direction="bearish")
        ledger_rows.bar(ticker, NEXT_DAY, 100)
        ledger_rows.split(ticker, NEXT_MONDAY, ratio)
        ledger_rows.bar(ticker, NEXT_MONDAY, 104 / ratio)
        ledger_rows.bar(ticker, ONE_MONTH, 108 / ratio)
    fill(conn, config=LedgerConfig(), as_of=END)
    for ticker in ratios:
        row = _filled(conn, ticker)
        actuals = [row["next_day_actual"], row["next_monday_actual"], row["one_month_actual"]]
        assert actuals == pytest.approx([100, 104, 108], rel=EXACT), ticker
        assert row["one_month_pct_error"] == pytest.approx((110 - 108) / 108 * 100, rel=1e-9), ticker
        assert row["next_day_direction_actual"] == "neutral", "what a ratio's rounding leaves is no move"


def test_a_split_after_the_target_session_but_before_the_fill_is_taken_out_too(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE, close=100)
    conn.commit()
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    ledger_rows.split("AAPL", date(2013, 2, 20), 2.0)
    ledger_rows.split("AAPL", date(2013, 2, 27), 7.0)
    fill(conn, config=LedgerConfig(), as_of=END)
    assert _filled(conn)["next_day_actual"] == pytest.approx(98, rel=EXACT)


def test_a_split_that_the_forecast_knew_of_or_that_came_before_it_changes_nothing(
    conn: Connection, ledger_rows
) -> None:
    ledger_rows.bar("AAPL", RUN_DATE, 200)
    ledger_rows.split("AAPL", NEXT_MONDAY, 2.0)
    ledger_rows.bar("IBM", NEXT_DAY, 98)
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    conn.commit()
    ledger_rows.forecast("AAPL", RUN_DATE, close=100)
    ledger_rows.forecast("IBM", RUN_DATE, close=100)
    conn.commit()
    ledger_rows.split("IBM", RUN_DATE, 2.0)
    fill(conn, config=LedgerConfig(), as_of=END)
    assert _filled(conn, "AAPL")["next_day_actual"] == 98
    assert _filled(conn, "IBM")["next_day_actual"] == 98


def test_a_split_of_another_ticker_changes_nothing(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE, close=100)
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    conn.commit()
    ledger_rows.split("MSFT", NEXT_MONDAY, 2.0)
    fill(conn, config=LedgerConfig(), as_of=END)
    assert _filled(conn)["next_day_actual"] == 98


def test_the_newest_vintage_fills_and_a_later_correction_stands_beside_what_was_filled(
    conn: Connection, ledger_rows
) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.forecast("IBM", RUN_DATE)
    conn.commit()
    ledger_rows.bar("AAPL", NEXT_DAY, 90)
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    ledger_rows.bar("IBM", NEXT_DAY, 99.9)
    fill(conn, config=LedgerConfig(), as_of=END)
    assert restated_actuals(conn).is_empty()
    ledger_rows.split("IBM", NEXT_MONDAY, 3.0)
    ledger_rows.split("AAPL", NEXT_MONDAY, 2.0)
    assert restated_actuals(conn).is_empty(), "a restatement by a split is no correction"
    ledger_rows.bar("AAPL", NEXT_DAY, 97 / 2)
    fill(conn, config=LedgerConfig(), as_of=END)
    assert _filled(conn)["next_day_actual"] == 98
    correction = restated_actuals(conn, ["AAPL", "IBM"]).row(0, named=True)
    assert (correction["ticker"], correction["horizon"], correction["target_session"]) == ("AAPL", "next_day", NEXT_DAY)
    assert (correction["actual"], correction["restated_actual"]) == (98, 97)


def test_the_dry_run_lists_what_the_fill_then_writes_and_writes_nothing(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.forecast("IBM", RUN_DATE)
    ledger_rows.abstention("FB", RUN_DATE)
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    ledger_rows.bar("FB", NEXT_DAY, 30)
    listed = due(conn, as_of=NEXT_MONDAY)
    assert listed.select("ticker", "run_date", "horizon", "target_session", "bar_is_there", "actual").rows() == [
        ("AAPL", RUN_DATE, "next_day", NEXT_DAY, True, 98.0),
        ("AAPL", RUN_DATE, "next_monday", NEXT_MONDAY, False, None),
        ("IBM", RUN_DATE, "next_day", NEXT_DAY, False, None),
        ("IBM", RUN_DATE, "next_monday", NEXT_MONDAY, False, None),
    ]
    assert _filled(conn)["next_day_actual"] is None
    assert due(conn, as_of=NEXT_MONDAY, tickers=["IBM"])["ticker"].to_list() == ["IBM", "IBM"]
    assert due(conn, as_of=NEXT_MONDAY, tickers=[]).is_empty()

    report = fill(conn, config=LedgerConfig(), as_of=NEXT_MONDAY)
    assert report.per_ticker.to_dicts() == [
        {
            "ticker": ticker,
            "num_filled_next_day": filled,
            "num_filled_next_monday": 0,
            "num_filled_one_month": 0,
            "num_open_next_day": 0,
            "num_open_next_monday": 0,
            "num_open_one_month": 1,
            "num_without_bar_next_day": 1 - filled,
            "num_without_bar_next_monday": 1,
            "num_without_bar_one_month": 0,
        }
        for ticker, filled in (("AAPL", 1), ("IBM", 0))
    ]
    assert due(conn, as_of=NEXT_MONDAY)["horizon"].to_list() == ["next_monday", "next_day", "next_monday"]


def test_a_fill_reaches_no_further_than_asked(conn: Connection, ledger_rows) -> None:
    for ticker in ("AAPL", "IBM"):
        ledger_rows.forecast(ticker, RUN_DATE)
        for session in (NEXT_DAY, NEXT_MONDAY, ONE_MONTH):
            ledger_rows.bar(ticker, session, 98)
    assert fill(conn, config=LedgerConfig(), as_of=NEXT_DAY, tickers=["AAPL"]).num_filled == 1
    assert (_filled(conn)["next_day_actual"], _filled(conn)["next_monday_actual"]) == (98, None)
    assert _filled(conn, "IBM")["next_day_actual"] is None


def test_a_second_fill_finds_nothing_to_do(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    assert fill(conn, config=LedgerConfig(), as_of=END).num_filled == 1
    before = _filled(conn)
    assert fill(conn, config=LedgerConfig(), as_of=END).num_filled == 0
    assert _filled(conn) == before


def test_the_number_of_statements_does_not_depend_on_what_is_due(
    conn: Connection, ledger_rows, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[object] = []
    plainly = psycopg.Connection.execute

    def counting(self: Connection, query: object, *rest: object, **more: object) -> object:
        executed.append(query)
        return plainly(self, query, *rest, **more)  # type: ignore[arg-type]

    counts: list[int] = []
    for tickers, days in ((["AAPL"], 1), ([f"T{n}" for n in range(20)], 15)):
        for ticker in tickers:
            for run_date in calendar.between(RUN_DATE, END)[:days]:
                ledger_rows.forecast(ticker, run_date)
                ledger_rows.bar(ticker, calendar.offset(run_date, 1), 98)
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Connection, "execute", counting)
            assert fill(conn, config=LedgerConfig(), as_of=END).num_filled >= len(tickers) * days
        counts.append(len(executed))
        executed.clear()
    assert counts == [6, 6]


def test_two_fills_at_once_share_the_work_without_an_error(
    database: Database, conn: Connection, ledger_rows, calendar: Calendar
) -> None:
    run_dates = calendar.between(date(2012, 6, 1), date(2012, 12, 31))
    for run_date in run_dates:
        ledger_rows.forecast("AAPL", run_date)
    for session in calendar.between(date(2012, 6, 1), END):
        ledger_rows.bar("AAPL", session, 98)
    conn.commit()
    both_ready, reports = threading.Barrier(2), []

    def work() -> None:
        with database.transaction() as own:
            both_ready.wait()
            reports.append(fill(own, config=LedgerConfig(), as_of=END).num_filled)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reports) == [0, 3 * len(run_dates)]
    assert conn.execute("select count(*) from snapshot where one_month_actual = 98").fetchone() == (len(run_dates),)


def test_a_correction_that_comes_in_during_a_fill_neither_stops_it_nor_is_lost(
    database: Database, conn: Connection, ledger_rows
) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    conn.commit()
    conn.execute("select from snapshot for update")
    reports: list[FillReport] = []

    def work() -> None:
        with database.transaction() as own:
            reports.append(fill(own, config=LedgerConfig(), as_of=END))

    filling = threading.Thread(target=work)
    filling.start()
    with database.connect() as watcher:
        watcher.autocommit = True
        while watcher.execute("select 1 from pg_locks where not granted").fetchone() is None:
            time.sleep(0.01)
    ledger_rows.bar("AAPL", NEXT_DAY, 97)
    conn.commit()
    filling.join()
    assert [report.num_filled for report in reports] == [1]
    fill(conn, config=LedgerConfig(), as_of=END)
    assert _filled(conn)["next_day_actual"] == 98
    assert restated_actuals(conn)["restated_actual"].to_list() == [97]


def test_a_session_that_has_not_closed_is_not_due_even_when_it_has_a_bar(
    conn: Connection, ledger_rows, calendar: Calendar
) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    ledger_rows.forecast("AAPL", newest)
    target = calendar.targets(newest).one_month
    ledger_rows.bar("AAPL", target, 98)
    assert due(conn, as_of=target).is_empty()
    report = fill(conn, config=LedgerConfig(), as_of=target)
    assert (report.num_filled, report.per_ticker["num_open_one_month"].to_list()) == (0, [1])


def test_a_bar_that_was_recorded_before_its_session_closed_does_not_fill(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    conn.execute("alter table bar disable trigger bar_is_recorded_now")
    conn.execute(
        "insert into bar select 'AAPL', session, closes_at - interval '1 second', 98, 98, 98, 98, 1, 'test'"
        " from trading_session where session = %s",
        (NEXT_DAY,),
    )
    assert fill(conn, config=LedgerConfig(), as_of=END).num_filled == 0
    assert not due(conn, as_of=NEXT_DAY)["bar_is_there"].any()
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    assert fill(conn, config=LedgerConfig(), as_of=END).num_filled == 1


def test_an_empty_ledger_gives_empty_frames(conn: Connection) -> None:
    report = fill(conn, config=LedgerConfig(), as_of=END)
    assert (report.num_filled, report.per_ticker.height, report.per_ticker.width) == (0, 0, 10)
    assert due(conn, as_of=END).is_empty()


def test_due_rows_are_found_through_the_indexes_of_open_rows(conn: Connection, ledger_rows, calendar: Calendar) -> None:
    for run_date in calendar.between(RUN_DATE, RUN_DATE + timedelta(days=5)):
        ledger_rows.forecast("AAPL", run_date)
    conn.execute("set local enable_seqscan = off")
    plan = "\n".join(
        line
        for (line,) in conn.execute(
            "explain select * from open_fill where has_closed and target_session <= '2013-03-01'"
        )
    )
    for index in ("snapshot_next_day_open", "snapshot_next_monday_open", "snapshot_one_month_open"):
        assert index in plan
