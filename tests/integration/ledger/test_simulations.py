"""Simulations: numbered without gaps, side by side, with models of their own, and on record for good."""

import threading
from collections.abc import Sequence
from datetime import date

import psycopg
import pytest

from ldtm_lib.audit.replay import replay
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.forecasters import Forecaster, forecasters
from ldtm_lib.ledger.leaderboard import leaderboard
from ldtm_lib.ledger.simulations import (
    LATE,
    RowKind,
    SimulationPlan,
    begin_simulation,
    judged_tickers,
    newest_simulation,
    num_rows_by_session,
    record_models,
    require_simulation,
    simulation_of_row,
    simulations,
)
from ldtm_lib.ledger.snapshots import on_record, take_snapshots
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ForecastConfig, LedgerConfig
from tests.integration.environment import NEXT_DAY, ONE_MONTH, RUN_DATE, ForecastEnvironment
from tests.integration.ledger_rows import LedgerRows, enter_service

PLAN = SimulationPlan(
    origin="bootstrap of a test",
    first_session=date(2013, 1, 7),
    last_session=RUN_DATE,
    retrain_every=3,
    settings_sha256="s" * 64,
    tickers=("AAPL", "MSFT"),
)
OLD, MIDDLE, NEW = date(2012, 11, 30), date(2012, 12, 31), date(2013, 1, 8)
FIRST, THEN = date(2013, 1, 7), date(2013, 1, 10)
"""Sessions from which on a simulation uses the models of MIDDLE and of NEW."""
LENIENT = ForecastConfig(without_active="candidate")


def begin(conn: Connection, origin: str) -> int:
    return begin_simulation(conn, SimulationPlan(origin=origin))


def put(conn: Connection, calendar: Calendar, number: int, ticker: str, run_date: date, pred: float) -> None:
    """A forecast from a close of 100 under a number."""
    conn.execute(
        """insert into snapshot (ticker, run_date, simulation_id, kind, next_day_session, next_monday_session,
            one_month_session, run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred,
            model_status, checkpoint_sha256, window_sha256, bars_recorded_until)
        values (%s, %s, %s, 'live', %s, %s, %s, 100, %s, %s, %s, %s, 'active', 'c', 'w', clock_timestamp())""",
        (
            *(ticker, run_date, number, *calendar.targets(run_date).as_tuple(), pred, pred, pred),
            "bullish" if pred > 100 else "bearish",
        ),
    )


def test_numbers_have_no_gaps_and_an_origin_has_one_number(conn: Connection) -> None:
    assert [begin(conn, origin) for origin in ("run a", "run b", "run a")] == [1, 2, 1]
    with conn.transaction(force_rollback=True):
        assert begin(conn, "run c") == 3
    assert begin_simulation(conn, PLAN) == 3
    assert begin_simulation(conn, PLAN) == 3, "resumed"
    newest, *others = simulations(conn)
    assert [each.simulation_id for each in (newest, *others)] == [3, 2, 1]
    assert (newest.origin, newest.first_session, newest.last_session) == (PLAN.origin, FIRST, RUN_DATE)
    assert (newest.retrain_every, newest.settings_sha256, newest.tickers) == (3, "s" * 64, ["AAPL", "MSFT"])
    assert (newest.num_rows, newest.first_run_date, newest.last_run_date) == (0, None, None)
    assert others[0].retrain_every is None
    assert newest.rows.name == "simulation 3"


def test_the_database_numbers_and_dates_a_simulation_whatever_the_caller_says(conn: Connection) -> None:
    conn.execute("insert into simulation (simulation_id, started_at, origin) values (7, '2001-01-02', 'a')")
    row = conn.execute("select simulation_id, started_at > clock_timestamp() - interval '1 minute' from simulation")
    assert row.fetchall() == [(1, True)]


def test_simulations_that_begin_at_once_have_numbers_without_gaps(database: Database) -> None:
    together, found = threading.Barrier(6), dict[int, tuple[int, int]]()

    def work(number: int) -> None:
        with database.transaction() as conn:
            together.wait()
            found[number] = begin(conn, f"run {number}"), begin(conn, "the same run")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own, shared = zip(*found.values(), strict=True)
    assert len({*shared}) == 1
    assert sorted({*own, *shared}) == list(range(1, 8))


def test_a_simulated_row_takes_no_place_of_a_daily_run_nor_of_another_simulation(
    environment: ForecastEnvironment,
) -> None:
    environment.ready("AAPL")
    conn, first, second = environment.conn, begin(environment.conn, "a"), begin(environment.conn, "b")

    def take(number: int) -> tuple[tuple[str, ...], tuple[str, ...], str]:
        report = take_snapshots(
            conn,
            run_date=RUN_DATE,
            tickers=["AAPL"],
            folder=environment.folder,
            settings=environment.settings,
            calendar=environment.calendar,
            simulation_id=number,
        )
        (row,) = report.rows
        assert row.simulation_id == number
        return report.written, report.unchanged, row.kind

    for number in (second, 0, first):
        assert take(number) == (("AAPL",), (), "simulated" if number else "late")
    for number in (0, first, second):
        assert take(number) == ((), ("AAPL",), "simulated" if number else "late")
        assert len(on_record(conn, RUN_DATE, ["AAPL"], number)) == 1
    assert num_rows_by_session(conn, first, ["AAPL", "MSFT"]) == {RUN_DATE: 1}
    assert num_rows_by_session(conn, 0, ["AAPL"]) == {}, "daily runs are no simulation"


def test_a_row_is_of_a_simulation_on_record_and_its_kind_follows(conn: Connection, calendar: Calendar) -> None:
    refusal = "there is no simulation 1: the forecast of AAPL on 2013-01-11 belongs to none"
    with pytest.raises(psycopg.IntegrityError, match=refusal), conn.transaction():
        put(conn, calendar, 1, "AAPL", RUN_DATE, 101)
    put(conn, calendar, begin(conn, "a"), "AAPL", RUN_DATE, 101)
    assert conn.execute("select kind, simulation_id from snapshot").fetchall() == [("simulated", 1)]
    enter_service(conn, "AAPL", RUN_DATE)
    put(conn, calendar, 0, "AAPL", RUN_DATE, 101)
    assert conn.execute("select kind from snapshot where simulation_id = 0").fetchall() == [("late",)]


def test_the_row_that_is_meant_is_that_of_the_daily_run_or_else_of_the_newest_simulation(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    assert (newest_simulation(conn), simulation_of_row(conn, "AAPL", RUN_DATE)) == (RowKind(kind="simulated"), 0)
    for number in (begin(conn, "a"), begin(conn, "b")):
        put(conn, calendar, number, "AAPL", RUN_DATE, 101)
    begin(conn, "has no rows yet")
    assert newest_simulation(conn) == RowKind(kind="simulated", simulation_id=2)
    assert simulation_of_row(conn, "AAPL", RUN_DATE) == 2
    ledger_rows.forecast("AAPL", RUN_DATE, kind="late")
    assert simulation_of_row(conn, "AAPL", RUN_DATE) == 0
    assert [simulation_of_row(conn, "AAPL", RUN_DATE, number) for number in (1, 2, 3)] == [1, 2, 3]
    with pytest.raises(ConfigurationError, match="there is no simulation 4; simulations 1 to 3 are on record"):
        simulation_of_row(conn, "AAPL", RUN_DATE, 4)
    with pytest.raises(ConfigurationError, match="there is no simulation 1; no simulation is on record"):
        require_simulation([], 1)


@pytest.mark.parametrize("table", ["simulation", "simulation_model"])
@pytest.mark.parametrize(
    "attack", ["update {} set simulation_id = 9", "delete from {}", "delete from {} where false", "truncate {} cascade"]
)
def test_a_simulation_and_its_models_are_never_changed_or_removed(conn: Connection, table: str, attack: str) -> None:
    record_models(conn, begin(conn, "a"), FIRST, {"AAPL": (None, ["too few bars"])})
    with pytest.raises(psycopg.IntegrityError, match=f"rows of {table} are never changed or removed"):
        conn.execute(attack.format(table).encode())


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        (
            "update simulation set origin = 'other' where simulation_id = 1",
            "the simulation 1 (event 0) was altered after it was recorded",
        ),
        (
            "update simulation set tickers = array['AAPL'] where simulation_id = 2",
            "the simulation 2 (event 1) was altered after it was recorded",
        ),
        ("delete from simulation where simulation_id = 2", "the simulation 2 (event 1) was recorded and is missing"),
        (
            "insert into simulation values (3, now(), 'other')",
            "the simulation 3 was never recorded as an event: it bypassed the chain",
        ),
        (
            "delete from simulation where simulation_id = 1; delete from ledger_event where event_id = 0",
            "event 0 was recorded and is missing",
        ),
    ],
)
def test_a_simulation_that_the_tables_owner_altered_removed_or_added_is_found(
    database: Database, conn: Connection, calendar: Calendar, attack: str, found: str
) -> None:
    begin(conn, "a")
    begin_simulation(conn, PLAN)
    conn.commit()
    assert verify(database, calendar).is_intact
    for part in (
        "alter table simulation disable trigger all; alter table ledger_event disable trigger all",
        attack,
        "alter table simulation enable trigger all; alter table ledger_event enable trigger all",
    ):
        conn.execute(part.encode())
    conn.commit()
    assert [each.message for each in verify(database, calendar).discrepancies] == [found]


def test_a_row_that_was_moved_to_another_simulation_is_found(
    database: Database, conn: Connection, calendar: Calendar
) -> None:
    for number in (begin(conn, "a"), begin(conn, "b")):
        put(conn, calendar, number, "AAPL", RUN_DATE, 100 + number)
    conn.execute("alter table snapshot disable trigger all")
    for swap in ("13 - simulation_id", "simulation_id - 10"):
        conn.execute(f"update snapshot set simulation_id = {swap}".encode())
    conn.execute("alter table snapshot enable trigger all")
    conn.commit()
    assert [each.message for each in verify(database, calendar).discrepancies] == [
        f"the forecast of AAPL on 2013-01-11 by simulation {number} (event {number + 1}) was altered after it was"
        " recorded"
        for number in (1, 2)
    ]


@pytest.fixture
def trained(environment: ForecastEnvironment) -> dict[date, int]:
    """AAPL's checkpoints: the active one of OLD, and candidates of MIDDLE and NEW."""
    environment.deliver(environment.bars(["AAPL"]))
    environment.make_windows(["AAPL"])
    environment.network("AAPL", trained_on=OLD)
    for seed, day in enumerate((MIDDLE, NEW), start=1):
        environment.network("AAPL", status="candidate", trained_on=day, seed=seed)
    return dict(environment.conn.execute("select trained_on, checkpoint_id from checkpoint").fetchall())


def used(
    environment: ForecastEnvironment, number: int, *run_dates: date, config: ForecastConfig | None = None
) -> list[Forecaster | None]:
    """AAPL's forecaster in a simulation on some run dates."""
    return [
        forecasters(
            environment.conn, ["AAPL"], day, simulation_id=number, config=config or environment.settings.forecast
        ).get("AAPL")
        for day in run_dates
    ]


def test_models_of_a_simulation_are_used_from_their_first_session_on_and_the_registry_is_not(
    environment: ForecastEnvironment, trained: dict[date, int]
) -> None:
    conn, number = environment.conn, begin_simulation(environment.conn, PLAN)
    record_models(conn, number, FIRST, {"AAPL": (trained[MIDDLE], [])})
    record_models(conn, number, THEN, {"AAPL": (trained[NEW], [])})
    record_models(conn, number, THEN, {"AAPL": (trained[MIDDLE], ["a second verdict"])})
    assert judged_tickers(conn, number, THEN) == {"AAPL"}
    assert judged_tickers(conn, number, RUN_DATE) == set()
    before, *found = used(environment, number, date(2013, 1, 4), FIRST, date(2013, 1, 9), THEN, RUN_DATE)
    assert before is None, "no model of its own yet, and none of the registry"
    assert [each and (each.checkpoint_id, each.status, each.version) for each in found] == [
        *[(trained[MIDDLE], "active", None)] * 2,
        *[(trained[NEW], "active", None)] * 2,
    ]
    take_snapshots(
        conn,
        run_date=RUN_DATE,
        tickers=["AAPL"],
        folder=environment.folder,
        settings=environment.settings,
        calendar=environment.calendar,
        simulation_id=number,
    )
    again = replay(
        conn,
        "AAPL",
        RUN_DATE,
        number,
        folder=environment.folder,
        settings=environment.settings,
        calendar=environment.calendar,
    )
    assert (again.row.checkpoint_id, again.row.model_status, again.row.model_version) == (trained[NEW], "active", None)
    assert again.is_equal_to_the_bit
    assert again.as_dict()["simulation_id"] == number
    statuses = conn.execute("select status from checkpoint order by trained_on").fetchall()
    assert statuses == [("active",), ("candidate",), ("candidate",)]


def test_a_model_that_the_gate_refused_forecasts_only_where_settings_allow_it_and_no_passed_one_is_there(
    environment: ForecastEnvironment, trained: dict[date, int]
) -> None:
    number = begin_simulation(environment.conn, PLAN)
    record_models(environment.conn, number, FIRST, {"AAPL": (trained[MIDDLE], ["49% < 52%"])})
    assert used(environment, number, RUN_DATE) == [None]
    (lenient,) = used(environment, number, RUN_DATE, config=LENIENT)
    assert lenient is not None
    assert (lenient.checkpoint_id, lenient.status, lenient.version) == (trained[MIDDLE], "candidate", None)
    other = begin(environment.conn, "b")
    record_models(environment.conn, other, FIRST, {"AAPL": (trained[MIDDLE], [])})
    record_models(environment.conn, other, THEN, {"AAPL": (trained[NEW], ["49% < 52%"])})
    for config in (None, LENIENT):
        (kept,) = used(environment, other, RUN_DATE, config=config)
        assert kept is not None
        assert (kept.checkpoint_id, kept.status) == (trained[MIDDLE], "active"), "a refusal replaces nothing"


def test_a_ticker_whose_training_left_no_model_abstains_in_the_simulation(
    environment: ForecastEnvironment, trained: dict[date, int]
) -> None:
    number = begin_simulation(environment.conn, PLAN)
    record_models(environment.conn, number, FIRST, {"AAPL": (None, ["too few bars"])})
    assert used(environment, number, RUN_DATE, config=LENIENT) == [None]
    with pytest.raises(psycopg.IntegrityError, match="simulation_model_that_passes_is_there"):
        record_models(environment.conn, number, THEN, {"AAPL": (None, [])})


def test_no_model_of_a_simulation_was_trained_on_or_after_its_first_session_or_is_of_another_ticker(
    environment: ForecastEnvironment, trained: dict[date, int]
) -> None:
    conn, number = environment.conn, begin_simulation(environment.conn, PLAN)
    for ticker, day, first in (("AAPL", NEW, NEW), ("AAPL", NEW, FIRST), ("MSFT", MIDDLE, FIRST)):
        refusal = f"checkpoint {trained[day]} is no network of {ticker} that was trained before {first}"
        with pytest.raises(psycopg.IntegrityError, match=refusal), conn.transaction():
            record_models(conn, number, first, {ticker: (trained[day], [])})


def test_a_simulation_without_models_of_its_own_uses_those_of_the_registry(
    environment: ForecastEnvironment, trained: dict[date, int]
) -> None:
    with_models, without = begin_simulation(environment.conn, PLAN), begin(environment.conn, "b")
    record_models(environment.conn, with_models, FIRST, {"AAPL": (trained[MIDDLE], []), "MSFT": (None, ["no bars"])})
    (found,) = used(environment, without, RUN_DATE)
    assert found is not None
    assert (found.checkpoint_id, found.status, found.version) == (trained[OLD], "active", f"v1.{OLD}")


def test_the_leaderboard_of_a_simulation_has_its_rows_and_its_verdicts_alone(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    ledger_rows.verdict("AAPL", passed=True)
    for number, pred in ((begin(conn, "a"), 101.0), (begin(conn, "b"), 99.0)):
        put(conn, calendar, number, "AAPL", RUN_DATE, pred)
    record_models(conn, 2, FIRST, {"AAPL": (None, ["49% < 52%"])})
    put(conn, calendar, 0, "AAPL", RUN_DATE, 102.0)
    ledger_rows.bar("AAPL", NEXT_DAY, 102.0)
    fill(conn, config=LedgerConfig(), as_of=NEXT_DAY)
    first, second, late = (
        leaderboard(conn, rows).rows[0]
        for rows in (*(RowKind(kind="simulated", simulation_id=number) for number in (1, 2)), LATE)
    )
    assert [row.score.num_correct for row in (first, second, late)] == [1, 0, 1]
    assert [row.score.next_day_error for row in (first, second, late)] == pytest.approx([100 / 102, 300 / 102, 0])
    assert [row.gate_passed for row in (first, second, late)] == [True, False, True]
    assert second.gate_reasons == ("49% < 52%",)


def test_fills_of_several_simulations_at_once_are_those_of_each_alone(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    days = calendar.between(date(2013, 1, 2), date(2013, 1, 16))
    preds = {0: 101.0, begin(conn, "a"): 99.0, begin(conn, "b"): 103.0}
    for ticker in ("AAPL", "MSFT"):
        enter_service(conn, ticker, days[0])

    def filled(numbers: Sequence[int]) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]], int]:
        """Rows with their fills, restatements, and how many actuals were filled, with these on record alone."""
        with conn.transaction(force_rollback=True):
            for number in numbers:
                for place, day in enumerate(days):
                    for ticker in ("AAPL", "MSFT"):
                        put(conn, calendar, number, ticker, day, preds[number] + place / 10)
            for ticker, close in (("AAPL", 100.0), ("MSFT", 50.0)):
                for place, day in enumerate(calendar.between(days[1], ONE_MONTH)):
                    if (ticker, day) != ("MSFT", days[4]):
                        ledger_rows.bar(ticker, day, close + place % 3)
            num_filled = fill(conn, config=LedgerConfig(), as_of=ONE_MONTH).num_filled
            ledger_rows.bar("AAPL", NEXT_DAY, 90.0)
            fill(conn, config=LedgerConfig(), as_of=ONE_MONTH)
            rows = conn.execute(
                """select ticker, run_date, simulation_id, next_day_actual, next_day_pct_error,
                    next_day_direction_correct, next_monday_actual, next_monday_pct_error, one_month_actual,
                    one_month_pct_error from snapshot"""
            ).fetchall()
            restated = conn.execute(
                "select ticker, run_date, simulation_id, horizon, actual, restated_actual from restated_actual"
            ).fetchall()
            assert len(rows) == len(numbers) * len(days) * 2
            assert {horizon for *_, horizon, _, _ in restated} == {"next_day", "next_monday"}
            return {*rows}, {*restated}, num_filled

    alone = [filled([number]) for number in preds]
    together = filled([*preds])
    assert together[0] == set().union(*(rows for rows, _, _ in alone))
    assert together[1] == set().union(*(restated for _, restated, _ in alone))
    assert together[2] == sum(num_filled for *_, num_filled in alone)
