"""What runs by itself after a failure, a crash or an outage: one run at a time, and never a storm of them."""

from collections.abc import Callable
from datetime import date, datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType

from ldtm_assets.automation.catch_up import catch_up_sensor, deadline_sensor
from ldtm_assets.automation.new_bars import new_bars_sensor
from ldtm_lib.daily_run.attempts import begin_attempt, finish_attempt
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, PartitionConfig
from tests.integration.ldtm_assets.automation.sensor_ticks import FRIDAY, MINUTE, SCHEDULED_AT, Tick, range_of
from tests.integration.ledger_rows import LedgerRows, enter_service


def tried(conn: Connection, reasons: dict[str, str], at: datetime, session: date = FRIDAY) -> None:
    """An attempt at tickers, at a moment, which was not enough."""
    partitions = {(session, ticker): reason for ticker, reason in reasons.items()}
    begin_attempt(conn, partitions)
    finish_attempt(conn, done=[], failed=partitions)
    conn.execute("update daily_attempt set last_attempt_at = %s where ticker = any (%s)", (at, list(reasons)))
    conn.commit()


def test_dagster_takes_the_whole_of_its_configuration(instance: dg.DagsterInstance) -> None:
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 2
    assert not instance.run_retries_retry_on_asset_or_op_failure
    kept = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    assert {status.name: days for status, days in kept.items()} == {
        "SKIPPED": 1,
        "SUCCESS": 90,
        "FAILURE": 90,
        "STARTED": 90,
    }
    assert instance.get_settings("sensors") == {"use_threads": True, "num_workers": 4}
    assert instance.get_settings("schedules") == {"use_threads": True}
    assert instance.run_monitoring_enabled
    assert instance.get_settings("run_monitoring") == {
        "enabled": True,
        "start_timeout_seconds": 300,
        "poll_interval_seconds": 30,
        "max_runtime_seconds": 14400,
        "free_slots_after_run_end_seconds": 5,
    }
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert {limit["key"]: limit["limit"] for limit in queue.tag_concurrency_limits} == {
        "ldtm/daily_run": 1,
        "ldtm/concurrency_group": 1,
    }


def test_it_leaves_the_daily_run_to_its_schedule_for_five_minutes(tick: Callable[..., Tick]) -> None:
    assert tick(catch_up_sensor, SCHEDULED_AT + 4 * MINUTE) == "nothing is due; 5 partitions are waiting"
    asked = tick(catch_up_sensor, SCHEDULED_AT + 5 * MINUTE)
    assert range_of(asked) == ("2026-11-20|AAPL", "2026-11-20|MSFT")
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_config == {}


def test_only_tickers_whose_wait_is_over_are_tried_again(
    tick: Callable[..., Tick], conn: Connection, calendar: Calendar
) -> None:
    for ticker in ("AAPL", "GOOG", "MSFT"):
        LedgerRows(conn, calendar).abstention(ticker, FRIDAY, kind="late")
    tried(conn, {"FB": "no bar of FB"}, SCHEDULED_AT)
    tried(conn, {"IBM": "no bar of IBM"}, SCHEDULED_AT + 10 * MINUTE)
    assert tick(catch_up_sensor, SCHEDULED_AT + MINUTE) == "nothing is due; 2 partitions are waiting"
    asked = tick(catch_up_sensor, SCHEDULED_AT + 3 * MINUTE)
    assert range_of(asked) == ("2026-11-20|FB", "2026-11-20|FB")
    asked = tick(catch_up_sensor, SCHEDULED_AT + 12 * MINUTE)
    assert range_of(asked) == ("2026-11-20|FB", "2026-11-20|FB"), "and not GOOG, which is between it and IBM"
    tried(conn, {"FB": "no bar of FB"}, SCHEDULED_AT + 12 * MINUTE)
    assert range_of(tick(catch_up_sensor, SCHEDULED_AT + 12 * MINUTE)) == ("2026-11-20|IBM", "2026-11-20|IBM")


@pytest.mark.parametrize("in_service_since", [date(2026, 11, 9)])
def test_days_of_an_outage_are_few_runs_oldest_first(
    tick: Callable[..., Tick], conn: Connection, calendar: Calendar, project: Project
) -> None:
    rows = LedgerRows(conn, calendar)
    sessions = calendar.between(date(2026, 11, 9), FRIDAY)
    for ticker in project.settings.tickers:
        rows.abstention(ticker, sessions[0], kind="late")
    conn.commit()
    asked: list[tuple[str, str]] = []
    for first, last in ((sessions[1], sessions[5]), (sessions[6], sessions[9])):
        asked.append(range_of(tick(catch_up_sensor, SCHEDULED_AT + 60 * MINUTE)))
        for session in calendar.between(first, last):
            for ticker in project.settings.tickers:
                rows.abstention(ticker, session, kind="late")
        conn.commit()
    assert asked == [("2026-11-10|AAPL", "2026-11-16|MSFT"), ("2026-11-17|AAPL", "2026-11-20|MSFT")]
    assert tick(catch_up_sensor, SCHEDULED_AT + 60 * MINUTE) == "nothing is missing"


def test_files_that_have_changed_make_due_what_waits_for_them_and_only_once(
    tick: Callable[..., Tick], conn: Connection, calendar: Calendar, project: Project
) -> None:
    for ticker in ("AAPL", "GOOG", "IBM"):
        LedgerRows(conn, calendar).abstention(ticker, FRIDAY, kind="late")
    for minutes in (2, 1):
        tick(new_bars_sensor, SCHEDULED_AT - minutes * MINUTE)
    tried(conn, dict.fromkeys(("FB", "MSFT"), "no bar"), SCHEDULED_AT)
    assert str(tick(new_bars_sensor, SCHEDULED_AT + MINUTE)).startswith(
        "no ticker waits for the files changed at 2026-11-20 23:14:00 UTC"
    )
    folder = project.settings.path.parent / "data" / "bars"
    for text in ("date,cl", "date,close\n"):
        (folder / "FB.csv").write_text(text)
        assert "still being written" in str(tick(new_bars_sensor, SCHEDULED_AT + MINUTE)), "no two ticks found it alike"
    for _ in range(2):
        assert range_of(tick(new_bars_sensor, SCHEDULED_AT + MINUTE)) == ("2026-11-20|FB",) * 2, "until it was tried"
    tried(conn, {"FB": "no bar"}, SCHEDULED_AT + 2 * MINUTE)
    assert range_of(tick(new_bars_sensor, SCHEDULED_AT + 2 * MINUTE)) == ("2026-11-20|MSFT",) * 2
    tried(conn, dict.fromkeys(("FB", "MSFT"), "no bar"), SCHEDULED_AT + 2 * MINUTE)
    assert "no ticker waits" in str(tick(new_bars_sensor, SCHEDULED_AT + 3 * MINUTE))


def test_an_imported_bar_makes_its_partition_due_after_the_open_too(
    tick: Callable[..., Tick], conn: Connection, calendar: Calendar, project: Project
) -> None:
    after_the_open = calendar.opens_at(date(2026, 11, 23)) + MINUTE
    for ticker in project.settings.tickers:
        LedgerRows(conn, calendar).abstention(ticker, FRIDAY, kind="late")
    tried(conn, {"IBM": "no bar of IBM"}, after_the_open)
    assert tick(catch_up_sensor, after_the_open + 60 * MINUTE) == "nothing is due; 1 partition is waiting"
    LedgerRows(conn, calendar).bar("IBM", FRIDAY, 100)
    conn.commit()
    assert range_of(tick(catch_up_sensor, after_the_open + 60 * MINUTE)) == ("2026-11-20|IBM",) * 2


def test_the_watch_notices_who_will_miss_the_open_though_nothing_else_runs(
    tick: Callable[..., Tick], conn: Connection, calendar: Calendar
) -> None:
    rows = LedgerRows(conn, calendar)
    rows.abstention("IBM", FRIDAY, kind="simulated")
    for ticker in ("AAPL", "FB", "GOOG", "MSFT"):
        rows.abstention(ticker, FRIDAY, kind="late")
    conn.commit()
    an_hour_before = calendar.opens_at(date(2026, 11, 23)) - 60 * MINUTE
    nobody, somebody = "0 tickers need attention; 0 alerts resolved", "1 ticker needs attention; 0 alerts resolved"
    assert [tick(deadline_sensor, an_hour_before + n * MINUTE) for n in (-300, 0, 4)] == [nobody] * 3
    assert tick(deadline_sensor, an_hour_before + 5 * MINUTE) == somebody
    assert conn.execute("select key from alert").fetchall() == [("deadline/2026-11-20/IBM",)]


def test_a_file_that_was_changed_since_the_start_launches_nothing_and_people_hear_of_it_until_it_is_served(
    tick: Callable[..., Tick], conn: Connection, project: Project
) -> None:
    """Ranges of a run would mean other partitions."""
    began_with = project.settings.replace(partitions=PartitionConfig(first_session=FRIDAY))
    late = SCHEDULED_AT + 60 * MINUTE
    said = "partitions of universe.toml changed since Dagster was started; nothing is launched until `ldtm up"
    for sensor in (catch_up_sensor, new_bars_sensor):
        assert str(tick(sensor, late, began_with)).startswith(said)
    assert said in str(tick(deadline_sensor, late, began_with))
    assert conn.execute("select key, resolved_at from alert").fetchall() == [("settings/changed", None)]
    conn.commit()
    assert isinstance(tick(catch_up_sensor, late), dg.RunRequest), "started again"
    assert tick(deadline_sensor, late) == "0 tickers need attention; 0 alerts resolved"
    assert conn.execute("select count(*) from alert where resolved_at is null").fetchone() == (0,)


def test_a_ticker_that_was_added_or_retired_since_the_start_holds_no_other_one_up(
    tick: Callable[..., Tick], conn: Connection, project: Project, calendar: Calendar
) -> None:
    *known, new = project.settings.tickers
    began_with = project.settings.replace(tickers=tuple(known))
    an_hour_later, all_known = SCHEDULED_AT + 60 * MINUTE, (f"{FRIDAY}|{known[0]}", f"{FRIDAY}|{known[-1]}")
    assert range_of(tick(catch_up_sensor, an_hour_later, began_with)) == all_known, f"without {new}"
    tried(conn, {known[0]: "no bar"}, SCHEDULED_AT)
    for ticker in known[1:]:
        LedgerRows(conn, calendar).abstention(ticker, FRIDAY, kind="late")
    conn.commit()
    assert isinstance(tick(catch_up_sensor, an_hour_later, began_with), dg.RunRequest)
    one_less = project.settings.replace(retired={known[0]: FRIDAY})
    assert tick(catch_up_sensor, an_hour_later, began_with, one_less) == "nothing is missing"


def test_the_watch_goes_by_what_the_file_says_now(
    tick: Callable[..., Tick], conn: Connection, project: Project, calendar: Calendar
) -> None:
    """A ticker that was taken out of it misses no open."""
    began_with = project.settings.replace(tickers=(*project.settings.tickers, "OLD"))
    enter_service(conn, "OLD", FRIDAY)
    for ticker in ("AAPL", "FB", "GOOG", "MSFT"):
        LedgerRows(conn, calendar).abstention(ticker, FRIDAY, kind="late")
    tried(conn, dict.fromkeys(("IBM", "OLD"), "no bar"), SCHEDULED_AT)
    an_hour_before = datetime(2026, 11, 23, 8, 30, tzinfo=ZoneInfo("America/New_York"))
    tick(deadline_sensor, an_hour_before, began_with)
    deadlines = conn.execute("select subject from alert where kind = 'deadline'").fetchall()
    assert deadlines == [("IBM",)]


@pytest.mark.parametrize("is_on", [False, True])
def test_what_launches_runs_is_on_where_automation_is_and_the_watch_always(
    project: Project, calendar: Calendar, is_on: bool
) -> None:
    settings = project.settings.replace(automation=AutomationConfig(enabled=is_on))
    launching = [sensor(lambda: project, settings, calendar) for sensor in (catch_up_sensor, new_bars_sensor)]
    found = {sensor.default_status for sensor in launching}
    assert found == {dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED}
    watch = deadline_sensor(lambda: project, settings, calendar)
    assert watch.default_status == dg.DefaultSensorStatus.RUNNING
    assert not watch.has_jobs
