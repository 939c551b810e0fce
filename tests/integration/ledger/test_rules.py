"""What the database refuses, whoever asks."""

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.intervals import BOUNDS
from ldtm_lib.sessions import Calendar
from tests.integration.ledger_rows import enter_service

RUN_DATE = date(2013, 1, 2)


def _columns(conn: Connection) -> list[str]:
    rows = conn.execute(
        "select column_name from information_schema.columns where table_schema = 'ldtm' and table_name = 'snapshot'"
    )
    return [name for (name,) in rows]


def _refusal(conn: Connection, query: LiteralString | sql.Composed, params: tuple[object, ...] = ()) -> str:
    """The message of a statement that must be refused; what came before it stays."""
    with pytest.raises(psycopg.IntegrityError) as refused, conn.transaction():
        conn.execute(query, params)
    return str(refused.value)


FORECAST_VALUES = {
    "ticker": "'IBM'",
    "run_date": "'2013-01-03'",
    "simulation_id": "2",
    "recorded_at": "clock_timestamp()",
    "kind": "'late'",
    "next_day_session": "'2013-01-04'",
    "next_monday_session": "'2013-01-08'",
    "one_month_session": "'2013-02-04'",
    "run_date_close": "99",
    "next_day_pred": "99",
    "next_monday_pred": "99",
    "one_month_pred": "99",
    "direction_pred": "'bearish'",
    "abstained_reason": "'regrets'",
    "model_version": "'v9'",
    "model_status": "null",
    "checkpoint_id": "9",
    "checkpoint_sha256": "'x'",
    "window_sha256": "'x'",
    "bars_recorded_until": "clock_timestamp()",
    "volatility": "0.5",
    "neutral_band": "0.5",
    "backend": "'onnx'",
    **dict.fromkeys(BOUNDS, "0.5"),
}
FILL_VALUES = {
    "next_day_actual": "98",
    "next_day_pct_error": "0",
    "next_day_direction_actual": "'bearish'",
    "next_day_direction_correct": "false",
    "next_day_filled_at": "clock_timestamp()",
    "next_monday_actual": "98",
    "next_monday_pct_error": "0",
    "next_monday_filled_at": "clock_timestamp()",
    "one_month_actual": "98",
    "one_month_pct_error": "0",
    "one_month_filled_at": "clock_timestamp()",
}
FILL = "update snapshot set next_day_actual = 104, next_monday_actual = 105, one_month_actual = 106"
CLOSES = {date(2013, 1, 3): 104, date(2013, 1, 7): 105, date(2013, 2, 1): 106}
"""The closes of the target sessions of RUN_DATE."""


def test_no_column_of_a_forecast_can_be_changed(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    assert set(FORECAST_VALUES) | set(FILL_VALUES) == set(_columns(conn)), "a new column needs its own attack here"
    for name, value in FORECAST_VALUES.items():
        query = sql.SQL("update snapshot set {} = " + value).format(sql.Identifier(name))  # type: ignore[arg-type]
        assert _refusal(conn, query).startswith("the forecast of AAPL on 2013-01-02 is on record"), name


def test_no_column_of_a_fill_can_be_changed_or_emptied(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.bars("AAPL", CLOSES)
    conn.execute(FILL)
    for name, value in [*FILL_VALUES.items(), *((name, "null") for name in FILL_VALUES)]:
        query = sql.SQL("update snapshot set {} = " + value).format(sql.Identifier(name))  # type: ignore[arg-type]
        assert _refusal(conn, query).startswith("an actual of AAPL on 2013-01-02 was filled"), name
    unfilled = {"next_day_actual": "null", "next_day_pct_error": "null", "next_day_filled_at": "null"}
    assignments = ", ".join(f"{name} = {value}" for name, value in unfilled.items())
    assert "was filled" in _refusal(conn, f"update snapshot set {assignments}")  # type: ignore[arg-type]


def test_a_figure_without_its_actual_is_refused(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    for name in FILL_VALUES.keys() - {"next_day_actual", "next_monday_actual", "one_month_actual"}:
        query = sql.SQL("update snapshot set {} = " + FILL_VALUES[name]).format(sql.Identifier(name))  # type: ignore[arg-type]
        assert "snapshot_fills_are_whole" in _refusal(conn, query), name


def test_errors_and_directions_are_worked_out_by_the_database_whatever_the_caller_says(
    conn: Connection, ledger_rows
) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE, close=100, preds=(101, 102, 103), direction="bullish")
    ledger_rows.bar("AAPL", date(2013, 1, 3), 80)
    conn.execute(
        "update snapshot set next_day_actual = 80, next_day_pct_error = 0, next_day_direction_actual = 'bullish',"
        " next_day_direction_correct = true, next_day_filled_at = '2013-01-04'"
    )
    row = conn.execute(
        "select next_day_pct_error, next_day_direction_actual, next_day_direction_correct,"
        " next_day_filled_at > clock_timestamp() - interval '1 minute' from snapshot"
    ).fetchone()
    assert row == ((101 - 80) / 80 * 100, "bearish", False, True)


def test_an_actual_that_is_not_that_of_the_bar_is_refused(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.bars("AAPL", CLOSES)
    for price in ("101", "106 * (1 + 2e-9)", "106 * (1 + 3e-16)"):
        query = sql.SQL("update snapshot set one_month_actual = " + price)  # type: ignore[arg-type]
        message = _refusal(conn, query.format())
        assert message.startswith("the actual of AAPL on 2013-01-02 is 106 by its bar for 2013-02-01, not "), price
    for price in ("-1", "0", "'nan'", "'infinity'"):
        query = sql.SQL("update snapshot set one_month_actual = " + price)  # type: ignore[arg-type]
        assert "snapshot_actuals_are_prices" in _refusal(conn, query.format()), price


def test_an_actual_without_a_bar_of_after_the_close_is_refused(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    conn.execute("alter table bar disable trigger bar_is_recorded_now")
    ledger_rows.bars("MSFT", CLOSES)
    refusal = (
        "AAPL has no bar for 2013-02-01 that was recorded after its close: the forecast of 2013-01-02 has no actual"
    )
    assert _refusal(conn, "update snapshot set one_month_actual = 106").startswith(refusal)
    conn.execute(
        "insert into bar select 'AAPL', session, closes_at - interval '1 second', 106, 106, 106, 106, 1, 'test'"
        " from trading_session where session = '2013-02-01'"
    )
    assert _refusal(conn, "update snapshot set one_month_actual = 106").startswith(refusal)


def test_an_actual_is_that_of_the_forecasts_own_price_basis(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    conn.commit()
    ledger_rows.bars("AAPL", CLOSES)
    ledger_rows.split("AAPL", date(2013, 2, 20), 2.0)
    message = _refusal(conn, "update snapshot set next_day_actual = 52")
    assert message.startswith("the actual of AAPL on 2013-01-02 is 104 by its bar for 2013-01-03, not 52")
    conn.execute(FILL)


def test_a_temporary_table_cannot_stand_in_for_the_bars(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.bars("AAPL", CLOSES)
    conn.execute("create temporary table bar as select * from ldtm.bar")
    conn.execute("update bar set close = 99")
    message = _refusal(conn, "update snapshot set next_day_actual = 99")
    assert message.startswith("the actual of AAPL on 2013-01-02 is 104 by its bar")


def test_a_bar_and_a_split_bear_the_moment_they_are_recorded_at(conn: Connection) -> None:
    for moment in ("'2013-01-04'", "now() - interval '1 second'", "now() + interval '1 hour'", "'infinity'"):
        for query in (
            f"insert into bar values ('AAPL', '2013-01-03', {moment}, 1, 1, 1, 1, 1, 'test')",
            f"insert into split values ('AAPL', '2013-01-03', 2, {moment})",
        ):
            assert "are dated by the moment they are recorded at" in _refusal(conn, query), query  # type: ignore[arg-type]


def test_forecasts_are_never_removed(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    for query in ("delete from snapshot", "delete from snapshot where false", "truncate snapshot cascade"):
        assert _refusal(conn, query).startswith("forecasts are never deleted"), query
    assert conn.execute("select count(*) from snapshot").fetchone() == (1,)


def test_an_upsert_cannot_replace_a_forecast(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    query = """insert into snapshot select * from snapshot
        on conflict (ticker, run_date, simulation_id) do update set next_day_pred = 1"""
    assert "is on record and cannot be changed" in _refusal(conn, query)


def test_an_abstention_has_nothing_to_fill(conn: Connection, ledger_rows) -> None:
    ledger_rows.abstention("FB", RUN_DATE)
    assert "FB abstained on 2013-01-02: there is nothing to fill" in _refusal(conn, FILL)


def test_a_past_run_date_cannot_claim_to_be_live(conn: Connection, ledger_rows) -> None:
    for ticker, kind in (("AAPL", "live"), ("FB", "late"), ("IBM", "simulated")):
        ledger_rows.forecast(ticker, RUN_DATE, kind=kind)
    rows = conn.execute("select ticker, kind from snapshot order by ticker").fetchall()
    assert rows == [("AAPL", "late"), ("FB", "late"), ("IBM", "simulated")]


CLOCK_CHANGES = {
    "2026-03-06": ("14:30", "21:00"),
    "2026-03-09": ("13:30", "20:00"),
    "2026-10-30": ("13:30", "20:00"),
    "2026-11-02": ("14:30", "21:00"),
    "2026-11-27": ("14:30", "18:00"),
    "2026-12-24": ("14:30", "18:00"),
}
"""Around the changes of New York's clocks, and two early closes; UTC."""


def test_the_database_knows_summer_time_and_early_closes(conn: Connection) -> None:
    rows = conn.execute(
        """select session::text, to_char(opens_at at time zone 'UTC', 'HH24:MI'),
            to_char(closes_at at time zone 'UTC', 'HH24:MI')
        from trading_session where session = any (%s::date[])""",
        (list(CLOCK_CHANGES),),
    )
    assert {session: (opens, closes) for session, opens, closes in rows} == CLOCK_CHANGES


def test_a_forecast_before_its_first_target_session_is_live_even_when_called_late(
    conn: Connection, ledger_rows, calendar: Calendar
) -> None:
    ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    ledger_rows.forecast("AAPL", RUN_DATE, kind="late")
    ledger_rows.forecast("MSFT", RUN_DATE, kind="simulated")
    rows = conn.execute("select ticker, kind from snapshot order by ticker").fetchall()
    assert rows == [("AAPL", "live"), ("MSFT", "simulated")]


def test_a_forecast_that_is_committed_after_the_open_is_not_live(conn: Connection, ledger_rows) -> None:
    ledger_rows.open_the_session_after(RUN_DATE, timedelta(seconds=0.4))
    conn.commit()
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.forecast("MSFT", RUN_DATE, kind="live")
    assert conn.execute("select kind from snapshot order by ticker").fetchall() == [("simulated",), ("live",)]
    time.sleep(0.5)
    with pytest.raises(psycopg.IntegrityError, match=r"session 2013-01-03 opened at .* while .* MSFT .* is not live"):
        conn.commit()
    assert conn.execute("select count(*) from snapshot").fetchone() == (0,)
    ledger_rows.forecast("MSFT", RUN_DATE, kind="live")
    conn.commit()
    assert conn.execute("select kind from snapshot").fetchall() == [("late",)]


def test_a_session_that_has_opened_cannot_be_moved_or_removed(conn: Connection, calendar: Calendar) -> None:
    for query in (
        "update trading_session set opens_at = opens_at + interval '1 minute' where session = '2013-01-03'",
        "delete from trading_session where session = '2013-01-03'",
    ):
        assert _refusal(conn, query).startswith("session 2013-01-03 has opened and cannot be changed or removed")
    truncate = "truncate trading_session cascade"
    assert _refusal(conn, truncate).startswith("rows of trading_session are never changed or removed")
    ahead = calendar.offset(calendar.last_closed(datetime.now(UTC)), 2)
    shorter = "update trading_session set closes_at = closes_at - interval '1 hour' where session = %s"
    assert conn.execute(shorter, (ahead,)).rowcount == 1, "an early close may be announced"


def test_an_invented_session_cannot_put_off_the_open(conn: Connection) -> None:
    invented = "insert into trading_session values ('2013-01-05', '2099-01-05 14:30Z', '2099-01-05 21:00Z')"
    assert "trading_session_is_on_its_day" in _refusal(conn, invented)


def test_what_was_seen_is_never_changed_or_removed(conn: Connection, ledger_rows) -> None:
    ledger_rows.bar("AAPL", RUN_DATE, 100)
    ledger_rows.split("AAPL", RUN_DATE, 2.0)
    conn.execute("insert into input_window (ticker, session, not_ready) values ('AAPL', %s, 'x')", (RUN_DATE,))
    for table in ("bar", "split", "input_window"):
        name = sql.Identifier(table)
        for attack in ("update {} set ticker = 'B'", "delete from {}", "truncate {}"):
            message = _refusal(conn, sql.SQL(attack).format(name))
            assert message.startswith(f"rows of {table} are never changed or removed"), attack


def test_no_trigger_sleeps_while_a_session_plays_the_replica(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    asleep = "select tgname from pg_trigger where not tgisinternal and tgenabled <> 'A'"
    assert conn.execute(asleep).fetchall() == []
    conn.execute("set session_replication_role = replica")
    assert "is on record" in _refusal(conn, "update snapshot set next_day_pred = 1")
    assert "never deleted" in _refusal(conn, "delete from snapshot")
    assert "has opened" in _refusal(conn, "delete from trading_session where session = '2013-01-03'")
    assert "never changed" in _refusal(conn, "delete from bar")


def test_the_chain_lock_is_taken_before_any_other_trigger_runs(conn: Connection) -> None:
    """PostgreSQL fires triggers for the statement before those for rows, and triggers of one kind by their names."""
    rows = conn.execute(
        """select distinct on (t.tgrelid, event) t.tgrelid::regclass::text, event, t.tgname::text
        from pg_trigger t
        cross join (values ('insert', 4), ('update', 16)) events (event, bit)
        where not t.tgisinternal and t.tgtype & 2 > 0 and t.tgtype::integer & bit > 0
          and exists (
              select from pg_trigger taken
              where taken.tgrelid = t.tgrelid and taken.tgname = 'chain_lock_is_taken'
                and taken.tgtype::integer & bit > 0)
        order by t.tgrelid, event, t.tgtype & 1, t.tgname
        """
    )
    assert sorted(rows) == [
        (table, event, "chain_lock_is_taken")
        for table, event in (
            ("checkpoint", "insert"),
            ("checkpoint", "update"),
            ("configuration", "insert"),
            ("gate_verdict", "insert"),
            ("ledger_seal", "insert"),
            ("lifecycle_action", "insert"),
            ("restated_actual", "insert"),
            ("service_entry", "insert"),
            ("simulation", "insert"),
            ("snapshot", "insert"),
            ("snapshot", "update"),
            ("voided_fill", "insert"),
        )
    ]


def test_a_retired_model_has_no_live_row(conn: Connection, ledger_rows, calendar: Calendar) -> None:
    enter_service(conn, "AAPL", RUN_DATE)
    ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    message = _refusal(
        conn,
        """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
            abstained_reason, model_status, bars_recorded_until)
        values ('AAPL', %s, 'live', %s, %s, %s, 'x', 'retired', clock_timestamp())""",
        (RUN_DATE, *calendar.targets(RUN_DATE).as_tuple()),
    )
    assert "snapshot_retired_models_are_not_live" in message


def test_a_target_far_ahead_does_not_make_a_late_forecast_live(
    conn: Connection, ledger_rows, calendar: Calendar
) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    run_date, far = calendar.offset(newest, -10), calendar.offset(newest, 10)
    enter_service(conn, "AAPL", run_date)
    with pytest.raises(psycopg.IntegrityError, match="targets_are_in_the_future"), conn.transaction():
        ledger_rows.forecast("AAPL", run_date, kind="live", next_day_session=calendar.offset(newest, 30))
    targets = calendar.targets(far)
    conn.execute(
        """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
            abstained_reason, bars_recorded_until) values ('AAPL', %s, 'live', %s, %s, %s, 'x', clock_timestamp())""",
        (run_date, *targets.as_tuple()),
    )
    assert conn.execute("select kind from snapshot").fetchone() == ("late",)


def test_a_temporary_table_cannot_stand_in_for_the_calendar(conn: Connection, ledger_rows) -> None:
    conn.execute(
        "create temporary table trading_session as "
        "select session, opens_at + interval '50 years' as opens_at, closes_at from ldtm.trading_session"
    )
    ledger_rows.forecast("AAPL", RUN_DATE, kind="live")
    assert conn.execute("select kind from snapshot").fetchone() == ("late",)


def test_a_session_that_has_not_closed_cannot_be_forecast_from(
    conn: Connection, ledger_rows, calendar: Calendar
) -> None:
    ahead = calendar.offset(calendar.last_closed(datetime.now(UTC)), 1)
    with pytest.raises(psycopg.IntegrityError, match=f"session {ahead} has not closed: AAPL cannot be forecast"):
        ledger_rows.forecast("AAPL", ahead)


def test_a_target_session_that_has_not_closed_cannot_be_filled(
    conn: Connection, ledger_rows, calendar: Calendar
) -> None:
    newest = calendar.last_closed(datetime.now(UTC))
    ledger_rows.forecast("AAPL", newest)
    target = calendar.targets(newest).one_month
    message = _refusal(conn, "update snapshot set one_month_actual = 100")
    assert message.startswith(f"session {target} has not closed: the forecast of AAPL on {newest} has no actual yet")


def test_a_forecast_cannot_arrive_with_its_actual(conn: Connection, calendar: Calendar) -> None:
    enter_service(conn, "AAPL", RUN_DATE)
    message = _refusal(
        conn,
        """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
            run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, model_status,
            checkpoint_sha256, window_sha256, bars_recorded_until, next_day_actual)
        values ('AAPL', %s, 'live', %s, %s, %s, 1, 1, 1, 1, 'neutral', 'active', 'c', 'w', clock_timestamp(), 1)""",
        (RUN_DATE, *calendar.targets(RUN_DATE).as_tuple()),
    )
    assert message.startswith("the forecast of AAPL on 2013-01-02 arrives with an actual")


def test_a_forecast_that_is_not_finite_is_refused(conn: Connection, ledger_rows) -> None:
    for preds in ((float("nan"), 1, 1), (1, float("inf"), 1), (1, 1, float("-inf"))):
        with pytest.raises(psycopg.IntegrityError, match="snapshot_forecasts_are_finite"), conn.transaction():
            ledger_rows.forecast("AAPL", RUN_DATE, preds=preds)


def test_a_candidate_forecasts_only_in_simulated_rows(conn: Connection, calendar: Calendar) -> None:
    enter_service(conn, "AAPL", RUN_DATE)
    message = _refusal(
        conn,
        """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
            abstained_reason, model_status, bars_recorded_until)
        values ('AAPL', %s, 'live', %s, %s, %s, 'x', 'candidate', clock_timestamp())""",
        (RUN_DATE, *calendar.targets(RUN_DATE).as_tuple()),
    )
    assert "snapshot_candidates_are_simulated" in message


def _forecast_with(values: Mapping[str, object]) -> sql.Composed:
    """A statement that records a forecast with some of the columns of its intervals."""
    return sql.SQL(
        "insert into snapshot (ticker, run_date, next_day_session, next_monday_session, one_month_session,"
        " run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, model_status,"
        " checkpoint_sha256, window_sha256, bars_recorded_until, {}) values ('AAPL', '2013-01-02', '2013-01-03',"
        " '2013-01-07', '2013-02-01', 100, 101, 102, 103, 'bullish', 'active', 'c', 'w', clock_timestamp(), {})"
    ).format(sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Literal, values.values())))


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"next_day_low_80": 99}, "snapshot_intervals_have_both_ends"),
        ({"one_month_high_95": 99}, "snapshot_intervals_have_both_ends"),
        ({"next_day_low_80": 102, "next_day_high_80": 101}, "snapshot_intervals_are_of_prices"),
        ({"next_monday_low_95": -1e-300, "next_monday_high_95": 101}, "snapshot_intervals_are_of_prices"),
        ({"next_monday_low_80": 1, "next_monday_high_80": float("inf")}, "snapshot_intervals_are_of_prices"),
        ({"one_month_low_80": 1, "one_month_high_80": float("nan")}, "snapshot_intervals_are_of_prices"),
        ({"one_month_low_95": float("nan"), "one_month_high_95": 101}, "snapshot_intervals_are_of_prices"),
        (
            {"next_day_low_80": 90, "next_day_high_80": 110, "next_day_low_95": 91, "next_day_high_95": 120},
            "snapshot_intervals_are_nested",
        ),
        (
            {"one_month_low_80": 90, "one_month_high_80": 110, "one_month_low_95": 80, "one_month_high_95": 109},
            "snapshot_intervals_are_nested",
        ),
        ({"volatility": -0.01}, "snapshot_volatility_and_band_are_numbers"),
        ({"neutral_band": float("nan")}, "snapshot_volatility_and_band_are_numbers"),
        ({"backend": "numpy"}, "snapshot_has_a_known_backend"),
    ],
)
def test_a_value_that_is_none_is_refused(conn: Connection, values: Mapping[str, object], constraint: str) -> None:
    enter_service(conn, "AAPL", RUN_DATE)
    assert constraint in _refusal(conn, _forecast_with(values))


def test_one_level_alone_and_intervals_that_share_an_end_are_accepted(conn: Connection) -> None:
    enter_service(conn, "AAPL", RUN_DATE)
    conn.execute(
        _forecast_with(
            {
                "next_day_low_80": 0,
                "next_day_high_80": 110,
                "next_day_low_95": 0,
                "next_day_high_95": 110,
                "one_month_low_80": 90,
                "one_month_high_80": 110,
            },
        )
    )


def test_an_abstention_has_no_interval_volatility_band_or_backend(conn: Connection) -> None:
    enter_service(conn, "AAPL", RUN_DATE)
    for values, rule in (
        ({"volatility": 0.1}, "intervals"),
        ({"neutral_band": 0.001}, "intervals"),
        ({"one_month_low_80": 1, "one_month_high_80": 2}, "intervals"),
        ({"backend": "torch"}, "backend"),
    ):
        query = sql.SQL(
            "insert into snapshot (ticker, run_date, next_day_session, next_monday_session, one_month_session,"
            " abstained_reason, bars_recorded_until, {}) values ('AAPL', '2013-01-02', '2013-01-03', '2013-01-07',"
            " '2013-02-01', 'has no bar', clock_timestamp(), {})"
        ).format(sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Literal, values.values())))
        assert f"snapshot_abstains_without_{rule}" in _refusal(conn, query)
