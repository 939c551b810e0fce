"""When things happen by themselves: sessions only, at the hour of New York, one run for all tickers."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._utils.schedules import schedule_execution_time_iterator

from ldtm_assets.automation.run_requests import MAX_TRAINING_TIME, run_request
from ldtm_assets.automation.schedules import all_schedules
from ldtm_assets.jobs import JOBS
from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG
from ldtm_lib.daily_run.attempts import begin_attempt
from ldtm_lib.daily_run.backlog import BacklogItem
from ldtm_lib.database.connection import Database
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, Settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ldtm_assets.automation.sensor_ticks import identity_of_a_dead_process
from tests.integration.ledger_rows import LedgerRows, enter_service
from tests.repository import REPOSITORY

NEW_YORK = ZoneInfo("America/New_York")
FRIDAY = date(2026, 11, 20)
SATURDAY = datetime(2026, 11, 21, 9, 0, tzinfo=NEW_YORK)
CONFIG = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())


@pytest.fixture
def project(settings: Settings, database: Database, in_service_since: date) -> Project:
    with database.transaction() as conn:
        for ticker in settings.tickers:
            enter_service(conn, ticker, in_service_since)
    return Project(settings=settings, home=settings.path.parent, database=database)


def daily_run_start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 18, 15, tzinfo=NEW_YORK)


def schedules_at(
    project: Project, calendar: Calendar, now: datetime, held: Settings | None = None
) -> dict[str, dg.ScheduleDefinition]:
    schedules = all_schedules(lambda: project, held or project.settings, calendar, clock=lambda _: now)
    return {schedule.name: schedule for schedule in schedules}


def ask(
    project: Project,
    calendar: Calendar,
    name: str,
    tick: datetime,
    now: datetime | None = None,
    held: Settings | None = None,
) -> dg.RunRequest | dg.SkipReason:
    with (
        dagster_instance(project.database, project.home) as instance,
        dg.build_schedule_context(instance=instance, scheduled_execution_time=tick) as context,
    ):
        result = schedules_at(project, calendar, now or tick, held)[name](context)
    assert isinstance(result, (dg.RunRequest, dg.SkipReason))
    return result


def range_of(asked: dg.RunRequest | dg.SkipReason) -> tuple[str, str]:
    assert isinstance(asked, dg.RunRequest), asked
    return asked.tags["dagster/asset_partition_range_start"], asked.tags["dagster/asset_partition_range_end"]


@pytest.mark.parametrize(
    "in_service_since",
    [FRIDAY, date(2026, 11, 27), date(2026, 3, 6), date(2026, 3, 9), date(2026, 10, 30), date(2026, 11, 2)],
    ids=["friday", "early close", "before summer time", "in summer time", "before winter time", "in winter time"],
)
def test_a_session_is_one_run_for_all_tickers(project: Project, calendar: Calendar, in_service_since: date) -> None:
    day = in_service_since
    asked = ask(project, calendar, "daily_schedule", daily_run_start(day))
    assert range_of(asked) == (f"{day}|AAPL", f"{day}|MSFT")
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_config == {}
    assert asked.tags["ldtm/daily_run"] == day.isoformat()


@pytest.mark.parametrize("changed_on", [date(2026, 3, 8), date(2026, 11, 1)])
def test_the_daily_schedule_is_at_a_quarter_past_six_on_both_sides_of_a_change_of_the_clocks(
    project: Project, calendar: Calendar, changed_on: date
) -> None:
    schedule = schedules_at(project, calendar, daily_run_start(FRIDAY))["daily_schedule"]
    assert isinstance(schedule.cron_schedule, str)
    since = daily_run_start(changed_on - timedelta(days=3)).timestamp()
    ticks = schedule_execution_time_iterator(since, schedule.cron_schedule, schedule.execution_timezone)
    found = [next(ticks) for _ in range(3)]
    days = [day for back in range(-3, 4) if (day := changed_on + timedelta(days=back)).weekday() < 5]
    assert [tick.astimezone(NEW_YORK) for tick in found] == [daily_run_start(day) for day in days[:3]]
    assert len({tick.astimezone(UTC).hour for tick in found}) == 2


def test_a_holiday_is_skipped(project: Project, calendar: Calendar) -> None:
    asked = ask(project, calendar, "daily_schedule", daily_run_start(date(2026, 11, 26)))
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "2026-11-26 is not a session of XNYS"


def test_a_tick_that_was_missed_is_left_to_what_makes_up_for_it(project: Project, calendar: Calendar) -> None:
    monday_after_the_close = datetime(2026, 11, 23, 17, 0, tzinfo=NEW_YORK)
    asked = ask(project, calendar, "daily_schedule", daily_run_start(FRIDAY), now=monday_after_the_close)
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "2026-11-23 has closed since 2026-11-20; catch_up_sensor requests the daily run"


@pytest.mark.parametrize(
    ("in_service_since", "asked_for"),
    [(date(2026, 11, 17), ("2026-11-18", "2026-11-20")), (date(2026, 11, 10), ("2026-11-11", "2026-11-17"))],
)
def test_a_daily_run_takes_along_what_was_missed_before_it_and_leaves_the_order(
    project: Project, calendar: Calendar, database: Database, in_service_since: date, asked_for: tuple[str, str]
) -> None:
    with database.transaction() as conn:
        for ticker in project.settings.tickers:
            LedgerRows(conn, calendar).abstention(ticker, in_service_since, kind="late")
    first, last = asked_for
    asked = ask(project, calendar, "daily_schedule", daily_run_start(FRIDAY))
    assert range_of(asked) == (f"{first}|AAPL", f"{last}|MSFT")


@pytest.mark.parametrize("in_service_since", [date(2026, 11, 18)])
def test_a_daily_run_does_not_wait_for_what_was_tried_in_vain_before_it(
    project: Project, calendar: Calendar, database: Database
) -> None:
    before = date(2026, 11, 19)
    with database.transaction() as conn:
        for ticker in project.settings.tickers:
            LedgerRows(conn, calendar).abstention(ticker, date(2026, 11, 18), kind="late")
        for ticker in project.settings.tickers[1:]:
            LedgerRows(conn, calendar).abstention(ticker, before, kind="late")
        begin_attempt(conn, [(before, "AAPL")])
    asked = ask(project, calendar, "daily_schedule", daily_run_start(FRIDAY))
    assert range_of(asked) == ("2026-11-20|AAPL", "2026-11-20|MSFT")


def test_a_daily_run_that_has_all_rows_is_skipped(project: Project, calendar: Calendar, database: Database) -> None:
    with database.transaction() as conn:
        for ticker in project.settings.tickers:
            LedgerRows(conn, calendar).abstention(ticker, FRIDAY, kind="late")
    asked = ask(project, calendar, "daily_schedule", daily_run_start(FRIDAY))
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "every ticker that is in service has its row for 2026-11-20"


def test_retraining_is_one_run_for_all_tickers_of_the_universe(project: Project, calendar: Calendar) -> None:
    asked = ask(project, calendar, "retraining_schedule", SATURDAY)
    assert range_of(asked) == ("AAPL", "MSFT")
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_config == {"ops": {"retraining": {"config": {"universe_alone": True}}}}
    left = {"AAPL": date(2026, 11, 21), "MSFT": date(2025, 1, 2), "GOOG": date(2026, 11, 23)}
    of_two = replace(project, settings=project.settings.replace(retired=left))
    assert range_of(ask(of_two, calendar, "retraining_schedule", SATURDAY)) == ("FB", "IBM")
    all_left = dict.fromkeys(project.settings.tickers, FRIDAY)
    of_none = replace(project, settings=project.settings.replace(retired=all_left))
    asked = ask(of_none, calendar, "retraining_schedule", SATURDAY)
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "no ticker of universe.toml belongs to the universe on 2026-11-21"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_no_second_retraining_queues_behind_one_that_has_not_ended(
    project: Project, calendar: Calendar, status: dg.DagsterRunStatus
) -> None:
    with dagster_instance(project.database, project.home) as instance:
        nowhere = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin(host="localhost", port=1), "nothing")
        origin = nowhere.get_job_origin("retraining_job")
        run = create_run_for_test(instance, job_name="retraining_job", status=status, remote_job_origin=origin)
    asked = ask(project, calendar, "retraining_schedule", SATURDAY)
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == f"run {run.run_id} of a retraining is {status.value.lower()}"
    with dagster_instance(project.database, project.home) as instance:
        instance.report_run_canceled(run)
        dead = create_run_for_test(instance, job_name="retraining_job", status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(dead.run_id, identity_of_a_dead_process(dead.run_id))
    assert isinstance(ask(project, calendar, "retraining_schedule", SATURDAY), dg.RunRequest)


@pytest.mark.parametrize(("name", "day"), [("daily_schedule", FRIDAY), ("retraining_schedule", date(2026, 11, 21))])
def test_a_file_that_was_changed_since_the_start_launches_nothing(
    project: Project, calendar: Calendar, name: str, day: date
) -> None:
    began_with = project.settings.replace(tickers=(*project.settings.tickers, "OLD"))
    asked = ask(project, calendar, name, daily_run_start(day), held=began_with)
    assert isinstance(asked, dg.SkipReason)
    assert str(asked.skip_message).startswith("tickers of universe.toml changed since Dagster was started")


def test_daily_runs_and_trainings_share_a_concurrency_group_unless_the_open_is_near(
    settings: Settings, calendar: Calendar
) -> None:
    item = BacklogItem(sessions=(FRIDAY,), tickers=settings.tickers)
    opens = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    assert run_request(item, settings, calendar, daily_run_start(FRIDAY)).tags[CONCURRENCY_GROUP_TAG] == "daily_run"
    assert CONCURRENCY_GROUP_TAG not in run_request(item, settings, calendar, opens - timedelta(hours=7)).tags
    assert run_request(item, settings, calendar, opens).tags[CONCURRENCY_GROUP_TAG] == "daily_run", "it is late already"
    old = BacklogItem(sessions=(date(2026, 11, 10),), tickers=settings.tickers)
    assert CONCURRENCY_GROUP_TAG not in run_request(old, settings, calendar, opens - timedelta(hours=7)).tags, (
        "the newest waits for it"
    )
    tags = {job.name: dict(job.tags or {}) for job in JOBS}
    assert tags["retraining_job"][CONCURRENCY_GROUP_TAG] == "retraining"
    limits = {limit["key"]: limit["limit"] for limit in CONFIG["concurrency"]["runs"]["tag_concurrency_limits"]}
    assert limits == {"ldtm/daily_run": 1, CONCURRENCY_GROUP_TAG: 1}
    assert timedelta(seconds=CONFIG["run_monitoring"]["max_runtime_seconds"]) == MAX_TRAINING_TIME


def test_a_run_asks_for_no_ticker_between_those_that_are_meant_unless_they_are_scattered(
    settings: Settings, calendar: Calendar
) -> None:
    many = settings.replace(tickers=tuple("ABCDEFGHIJKLM"))

    def ask_for(tickers: str) -> tuple[tuple[str, str], object]:
        asked = run_request(
            BacklogItem(sessions=(FRIDAY,), tickers=tuple(tickers)), many, calendar, daily_run_start(FRIDAY)
        )
        return range_of(asked), asked.run_config

    assert ask_for("BCE") == (("2026-11-20|B", "2026-11-20|C"), {})
    assert ask_for("ACEGI") == (("2026-11-20|A", "2026-11-20|A"), {})
    scattered = {"ops": {"daily_forecast": {"config": {"only": list("ACEGIK")}}}}
    assert ask_for("ACEGIK") == (("2026-11-20|A", "2026-11-20|K"), scattered)


def test_dagster_starts_no_daily_run_again_and_ends_one_that_hangs(settings: Settings, calendar: Calendar) -> None:
    tags = {job.name: dict(job.tags or {}) for job in JOBS}
    assert tags["daily_job"] == {"dagster/max_retries": "0"}, "a long backfill of a person is left its time"
    asked = run_request(
        BacklogItem(sessions=(FRIDAY,), tickers=settings.tickers), settings, calendar, daily_run_start(FRIDAY)
    ).tags
    assert (asked["dagster/max_retries"], asked["dagster/max_runtime"], asked["dagster/priority"]) == ("0", "3600", "1")
    assert CONFIG["run_retries"] == {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
    for name in ("retraining_job", "leaderboard_job", "price_history_job"):
        assert "dagster/max_retries" not in tags[name]


@pytest.mark.parametrize("is_on", [False, True])
def test_schedules_follow_new_york_and_run_where_automation_is_on(
    project: Project, calendar: Calendar, is_on: bool
) -> None:
    automated = replace(project, settings=project.settings.replace(automation=AutomationConfig(enabled=is_on)))
    for name, schedule in schedules_at(automated, calendar, daily_run_start(FRIDAY)).items():
        is_running = is_on or name == "retention_schedule"
        assert schedule.execution_timezone == "America/New_York"
        assert (schedule.default_status == dg.DefaultScheduleStatus.RUNNING) == is_running, name


def test_a_tick_that_comes_late_is_left_to_the_catch_up(project: Project, calendar: Calendar) -> None:
    tick = daily_run_start(FRIDAY)
    in_time = ask(project, calendar, "daily_schedule", tick, now=tick + timedelta(minutes=5))
    assert range_of(in_time) == ("2026-11-20|AAPL", "2026-11-20|MSFT")
    late = ask(project, calendar, "daily_schedule", tick, now=tick + timedelta(minutes=6))
    assert isinstance(late, dg.SkipReason)
    assert "is late; catch_up_sensor requests the daily run" in str(late.skip_message)
