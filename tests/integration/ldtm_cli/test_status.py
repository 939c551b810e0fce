"""`ldtm status`: what is well, what may still come by itself, and what needs a person, on a screen of 80 columns."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo
from rich.console import Console

from ldtm_assets.alerting.health_checks import stopped
from ldtm_assets.automation.loaded_code import clear_report, report_loaded_code, report_of
from ldtm_assets.definitions import definitions_for
from ldtm_cli.commands.status import print_status
from ldtm_cli.installation_status import InstallationStatus, installation_status
from ldtm_cli.services import dagster_environment
from ldtm_lib.audit.discrepancies import Discrepancy
from ldtm_lib.audit.verify import AuditReport, LiveRows, note_verification
from ldtm_lib.daily_run import attempts
from ldtm_lib.database.clock import stored_calendar
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrations
from ldtm_lib.installation import code_sha256
from ldtm_lib.maintenance import disk
from ldtm_lib.maintenance.dagster_status import NextTick
from ldtm_lib.maintenance.loaded_code import LoadedCode
from ldtm_lib.maintenance.status import needs, status
from ldtm_lib.project import open_project
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import PartitionConfig, Settings, load_settings
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.ledger_rows import LedgerRows, enter_service
from tests.repository import REPOSITORY

FRIDAY = date(2013, 1, 18)
"""The last session of these tests; Monday is a holiday."""
TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
CONFIG = f"tickers = {list(TICKERS)}\n[partitions]\nfirst_session = 2012-01-03\n"
AUTOMATED = CONFIG + "[automation]\nenabled = true\n[export]\nenabled = true\n"
UNHEARD = (
    "automation is on and LDTM_ALERT_URLS names no channel, so nobody is notified: set it, and test it with `ldtm "
    "alerts test`"
)
DAEMON = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")
"""The parts of Dagster's daemon that are needed."""
HALF_A_DAY, PAST = timedelta(hours=12), -timedelta(minutes=5)
DEADLINE = datetime(2013, 1, 22, 14, 30, tzinfo=UTC)
"""The open of the session after Friday, in kept outputs."""


@dataclass(frozen=True)
class MovedInstallation:
    """Somebody who looks, and whose calendar can be moved to another year."""

    config: Path
    url: str
    rows: LedgerRows

    def opens_in(self, ahead: timedelta) -> "MovedInstallation":
        """Friday's daily run is the last one, and the session after it opens so far ahead of now."""
        self.rows.open_the_session_after(FRIDAY, ahead)
        return self

    def records(self, *tickers: str) -> None:
        """Record a complete session of some tickers."""
        for ticker in tickers:
            self.rows.bar(ticker, FRIDAY, 100)
            self.rows.forecast(ticker, FRIDAY, kind="live")
        self.tries([], done=tickers)

    def tries(self, failed: list[str], done: tuple[str, ...] = ()) -> None:
        keys = [(FRIDAY, ticker) for ticker in (*failed, *done)]
        attempts.begin_attempt(self.rows.conn, keys)
        attempts.finish_attempt(
            self.rows.conn, keys[len(failed) :], dict.fromkeys(keys[: len(failed)], "the source has no bar")
        )
        self.rows.conn.commit()

    def read_status(self) -> InstallationStatus:
        self.rows.conn.commit()
        return installation_status(self.config, {"LDTM_DATABASE_URL": self.url})


@pytest.fixture
def new_installation(tmp_path: Path, database: Database, ledger_rows: LedgerRows) -> MovedInstallation:
    config = tmp_path / "universe.toml"
    config.write_text(CONFIG)
    return MovedInstallation(config, database.url, ledger_rows)


@pytest.fixture
def installation(new_installation: MovedInstallation) -> MovedInstallation:
    """One whose tickers are in service since Friday."""
    for ticker in TICKERS:
        enter_service(new_installation.rows.conn, ticker, FRIDAY)
    new_installation.rows.conn.commit()
    return new_installation


@pytest.fixture
def speaking(installation: MovedInstallation) -> None:
    """Every ticker has an active model."""
    for ticker in TICKERS:
        installation.rows.promoted(ticker, date(2013, 1, 11))


@pytest.fixture
def instance(installation: MovedInstallation, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's storage, in which all of a daemon was heard of just now."""
    with psycopg.connect(installation.url, autocommit=True) as admin:
        admin.execute("create schema ldtm_dagster")
    for name, value in dagster_environment(
        open_project(installation.config, {"LDTM_DATABASE_URL": installation.url})
    ).items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as instance:
        for part in DAEMON:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), part, "a", []))
        report(instance, installation)
        yield instance


def report(instance: dg.DagsterInstance, installation: MovedInstallation) -> None:
    """The sensors report what Dagster has loaded: the code and the settings as they are now."""
    settings, calendar = load_settings(installation.config), exchange_calendar()
    repository = definitions_for(settings, calendar).get_repository_def()
    report_loaded_code(instance, report_of(repository, code_sha256(), settings, calendar, datetime.now(UTC)))


def text(screen: InstallationStatus) -> str:
    """What a terminal of 80 columns shows, with every line of it in its place."""
    shown = io.StringIO()
    print_status(Console(file=shown, width=80), screen)
    assert max(len(line) for line in shown.getvalue().splitlines()) <= 80
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines())


def at_fixed_times(screen: InstallationStatus) -> InstallationStatus:
    """The same screen with moments and sizes that do not depend on the time and the machine of the test."""
    tables, dagster = screen.tables, screen.dagster
    assert tables is not None
    is_open = tables.newest.deadline > tables.counts.moment
    counts = replace(
        tables.counts,
        moment=DEADLINE - HALF_A_DAY if is_open else DEADLINE - PAST,
        first_attempt_at=tables.counts.first_attempt_at and DEADLINE - HALF_A_DAY - timedelta(hours=3),
        last_attempt_at=tables.counts.last_attempt_at and DEADLINE - HALF_A_DAY,
        promoted_at=tables.counts.promoted_at and DEADLINE - timedelta(days=7),
        database_bytes=13 * 2**20,
    )
    if dagster is not None:
        names = sorted(tick.schedule for tick in dagster.next_ticks)
        ticks = [NextTick(schedule=name, at=DEADLINE + hour * timedelta(hours=1)) for hour, name in enumerate(names)]
        dagster = replace(dagster, next_ticks=tuple(ticks))
    return replace(
        screen,
        tables=replace(
            tables,
            newest=replace(tables.newest, session=FRIDAY, deadline=DEADLINE),
            counts=counts,
            pending=tuple(replace(each, deadline=DEADLINE) for each in tables.pending),
        ),
        dagster=dagster,
        folder_bytes={"checkpoints": 5 * 2**20, "dagster": 0, "logs": 2**20},
        free_bytes=120 * 2**30,
    )


def compare_screen(name: str, screen: InstallationStatus) -> None:
    compare_at_all_widths(name, lambda console: print_status(console, at_fixed_times(screen)))


def flat(screen: InstallationStatus) -> str:
    return " ".join(text(screen).split())


@pytest.mark.usefixtures("speaking", "instance")
def test_when_everything_is_there_all_is_well(installation: MovedInstallation) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    screen = installation.read_status()
    assert screen.needs == ()
    shown = text(screen)
    assert shown.endswith("\n\nAll is well.")
    assert "session  Fri 2013-01-18: 5 live rows for 5 tickers\n" in shown
    assert "at most 1 per ticker; 5 tickers complete" in flat(screen)
    assert "\npending  nothing\n" in shown
    assert "\nmodels   5 of 5 tickers have an active model\n" in shown
    assert "\nalerts   none\n" in shown
    assert "\nDagster  running\n         0 runs under way, 0 queued\n" in shown
    assert screen.as_dict()["is_well"] is True
    compare_screen("status-well", screen)


@pytest.mark.usefixtures("speaking")
def test_what_may_still_come_by_itself_is_shown_and_needs_nobody_and_is_not_called_well(
    installation: MovedInstallation, instance: dg.DagsterInstance
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS[1:])
    installation.tries(["AAPL"])
    by_hand = (
        "no row of 2013-01-18 for AAPL, and daily_schedule and catch_up_sensor are off: run `ldtm run "
        "2013-01-18`, or set automation.enabled"
    )
    assert installation.read_status().needs == (by_hand,), "nothing comes by itself with automation off"
    installation.config.write_text(AUTOMATED)
    report(instance, installation)
    screen = installation.read_status()
    assert screen.needs == (UNHEARD,)
    screen = replace(screen, needs=())
    assert "no row: AAPL AAPL, 1 attempt: the source has no bar" in flat(screen)
    assert "1 row of 2013-01-18, by" in text(screen)
    assert "All is well" not in text(screen)
    compare_screen("status-waiting", screen)
    assert "Nothing needs attention. 1 row may still be recorded by " in text(screen)
    assert screen.as_dict()["is_well"] is False


@pytest.mark.usefixtures("speaking", "instance")
def test_after_the_deadline_a_ticker_without_bar_and_row_needs_a_person(installation: MovedInstallation) -> None:
    installation = installation.opens_in(PAST)
    installation.records(*TICKERS[1:])
    installation.tries(["AAPL"])
    installation.rows.forecast("FB", date(2013, 1, 17))
    screen = installation.read_status()
    assert screen.needs == (
        "no row of 2013-01-18 for AAPL: run `ldtm run 2013-01-18 --late`",
        "no bar of 2013-01-18 for AAPL: check the source",
        "actuals not filled although their bars exist: FB 2013-01-17, next day; run `ldtm fillback`",
    )
    assert "session  Fri 2013-01-18: 4 late rows for 5 tickers\n" in text(screen)
    assert "1 row of 2013-01-18, late now" in text(screen)
    assert "3 things to look at:" in text(screen)
    compare_screen("status-overdue", screen)


@pytest.mark.usefixtures("speaking")
def test_a_ticker_that_keeps_failing_is_shown_once_whether_or_not_its_alert_is_raised(
    installation: MovedInstallation, instance: dg.DagsterInstance
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS[1:])
    installation.config.write_text(AUTOMATED)
    report(instance, installation)
    for _ in range(4):
        installation.tries(["AAPL"])
    lines = ("AAPL: failed 4 times: the source has no bar", UNHEARD)
    assert installation.read_status().needs == lines
    alert = "insert into alert (key, kind, severity, session, subject, summary) values (%s, %s, %s, %s, %s, %s)"
    seen = ("ticker/2013-01-18/AAPL", "ticker", "warning", FRIDAY, "AAPL", "failed 4 times: the source has no bar")
    installation.rows.conn.execute(alert, seen)
    assert installation.read_status().needs == lines
    old = ("ticker/2012-01-18/AAPL", "ticker", "warning", date(2012, 1, 18), "AAPL", "long over")
    installation.rows.conn.execute(alert, old)
    screen = installation.read_status()
    assert screen.needs == lines
    assert "2 open alerts" in text(screen)


@pytest.mark.usefixtures("speaking", "instance")
def test_undelivered_notifications_need_a_person(installation: MovedInstallation) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    delivery = (
        "insert into notification_delivery (notification_id, channel, shown_as, delivered_at, given_up_at, last_error)"
    )
    for title, delivered_at, given_up_at, error in (
        ("came", "2013-01-18", None, "once refused"),
        ("lost last year", None, "2013-01-18", "refused"),
        ("on its way", None, None, None),
        ("refused", None, None, "connection refused"),
        ("lost", None, datetime.now(UTC), "timed out"),
    ):
        [(number,)] = installation.rows.conn.execute(
            "insert into notification (severity, title, body) values ('error', %s, '') returning notification_id",
            (title,),
        ).fetchall()
        installation.rows.conn.execute(
            f"{delivery} values (%s, 'hash', 'mailto://example.org', %s, %s, %s)",
            (number, delivered_at, given_up_at, error),
        )
    screen = installation.read_status()
    assert screen.needs == (
        "notification 5 was not delivered to mailto://example.org: timed out",
        "notification 4 was not delivered to mailto://example.org: connection refused",
    )
    assert "2 notifications not delivered yet" in text(screen)
    assert [line.split(": ")[1] for line in text(screen).splitlines() if " error: " in line] == [
        "lost",
        "refused",
        "on its way",
    ]


@pytest.mark.usefixtures("instance")
def test_a_universe_without_an_active_model_needs_a_person(installation: MovedInstallation) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    assert installation.read_status().needs == (
        "no model is active, so every ticker abstains: `ldtm registry list` shows why",
    )


@pytest.mark.usefixtures("speaking")
def test_a_degraded_model_needs_a_person(installation: MovedInstallation, settings: Settings) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    found = installation.read_status().tables
    assert found is not None
    assert needs(found, settings) == []
    reason = "AAPL v1.2013-01-11 was right in 60 of 155 calls"
    assert needs(replace(found, degraded=(reason,)), settings) == [f"{reason}: see `ldtm registry rollback`"]
    broken = "the 80% intervals of AAPL, next day, contained 10 of 60 actuals"
    assert needs(replace(found, broken_intervals=(broken,)), settings) == [f"{broken}: do not rely on these intervals"]


@pytest.mark.usefixtures("speaking")
def test_a_dagster_that_does_not_run_or_is_switched_off_needs_a_person(
    installation: MovedInstallation, instance: dg.DagsterInstance
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    screen = installation.read_status()
    assert screen.dagster is not None
    assert {"daily_schedule", "freshness_schedule", "catch_up_sensor"} <= {*screen.dagster.stopped}
    assert screen.needs == (), "automation is off, so these are off by default"
    installation.config.write_text(AUTOMATED)
    screen = installation.read_status()
    assert screen.dagster is not None
    assert "daily_schedule" in screen.dagster.stopped, "what runs counts, not the file"
    assert screen.needs == (
        "automation.enabled of universe.toml changed since Dagster was started: `ldtm up` applies the change",
        UNHEARD,
    )
    report(instance, installation)
    screen = installation.read_status()
    assert screen.dagster is not None
    assert (screen.dagster.stopped, screen.needs) == ((), (UNHEARD,))
    assert {tick.schedule for tick in screen.dagster.next_ticks} >= {"daily_schedule", "freshness_schedule"}
    remember(instance, "daily_schedule", InstigatorStatus.STOPPED)
    for part in DAEMON:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 100, part, "a", []))
    screen = installation.read_status()
    assert screen.needs == (
        "Dagster is not running, so nothing happens automatically: run `ldtm up`",
        "automation is on, but daily_schedule was stopped in the UI",
        UNHEARD,
    )
    assert "off: daily_schedule" in text(screen)
    assert "stopped in the UI, regardless of automation.enabled: daily_schedule" in flat(screen)
    assert "\nnext     if Dagster runs by then:\n" in text(screen)
    compare_screen("status-stopped", screen)


@pytest.mark.usefixtures("speaking")
@pytest.mark.parametrize(
    ("dead", "says"),
    [
        (["SENSOR"], "sensors"),
        (["SCHEDULER"], "schedules"),
        (["QUEUED_RUN_COORDINATOR"], "the run queue"),
        (["SENSOR", "SCHEDULER"], "sensors and schedules"),
    ],
)
def test_a_daemon_of_which_a_part_is_dead_needs_a_person(
    installation: MovedInstallation, instance: dg.DagsterInstance, dead: list[str], says: str
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    for part in (*dead, "BACKFILL"):
        beat_at = time.time() - (100 if part in dead else 0)
        instance.add_daemon_heartbeat(DaemonHeartbeat(beat_at, part, "a", []))
    screen = installation.read_status()
    assert screen.needs == (f"Dagster runs without {says}: `ldtm down`, then `ldtm up`",)
    assert f"Dagster  running without {says}\n" in text(screen)
    assert screen.dagster is not None
    assert not screen.dagster.is_alive


@pytest.mark.usefixtures("speaking")
def test_a_run_that_never_reached_the_queue_is_not_shown_as_queued(
    installation: MovedInstallation, instance: dg.DagsterInstance
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    create_run_for_test(instance, job_name="daily_job", status=dg.DagsterRunStatus.NOT_STARTED)
    assert "0 runs under way, 0 queued" in text(installation.read_status())
    with psycopg.connect(installation.url, autocommit=True) as admin:
        admin.execute("update ldtm_dagster.runs set status = 'QUEUED'")
    assert "0 runs under way, 1 queued" in text(installation.read_status())


@pytest.mark.usefixtures("speaking", "instance")
def test_a_disk_that_is_nearly_full_needs_a_person_and_is_shown_once(
    installation: MovedInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    monkeypatch.setattr(disk, "LOW_DISK_GIB", 1e9)
    [line] = installation.read_status().needs
    assert line.startswith("disk: ")
    assert line.endswith(", less than 1e+09 GiB: free some space, or see `ldtm retention`")
    disk.check_disk(installation.rows.conn, installation.config.parent)
    assert [line.partition(":")[0] for line in installation.read_status().needs] == ["disk"]


@pytest.mark.usefixtures("speaking")
@pytest.mark.parametrize("last_session", ["2013-01-18", "2013-01-20"])
def test_where_the_partitions_end_in_the_past_their_last_session_is_shown_and_nothing_is_missing(
    installation: MovedInstallation, last_session: str
) -> None:
    installation.config.write_text(CONFIG + f"last_session = {last_session}\n")
    for ticker in TICKERS:
        installation.rows.bar(ticker, FRIDAY, 100)
        installation.rows.forecast(ticker, FRIDAY, kind="late")
    screen = installation.read_status()
    assert screen.needs == (), "no daily run will come, so Dagster may stand still"
    shown = text(screen)
    assert "session  Fri 2013-01-18: 5 late rows for 5 tickers\n" in shown
    assert "\n         the last session: there are no partitions after it\n" in shown
    assert "not tried yet" not in shown
    assert "All is well." in shown


@pytest.mark.usefixtures("speaking")
def test_a_sensor_whose_last_tick_failed_needs_a_person(
    installation: MovedInstallation, instance: dg.DagsterInstance
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("ldtm"), "__repository__")
    origin = RemoteInstigatorOrigin(repository, "alert_sensor")
    ids = (origin.get_id(), origin.get_selector().get_id())
    data = SensorInstigatorData(last_tick_timestamp=None)
    instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE, data)
    )
    error = SerializableErrorInfo("DataError: a NUL\nin a text", [], None)
    for at, came_to, of_tick in (
        (1.0, TickStatus.FAILURE, error),
        (2.0, TickStatus.SKIPPED, None),
        (3.0, TickStatus.FAILURE, error),
        (4.0, TickStatus.STARTED, None),
    ):
        instance.create_tick(
            TickData(*ids[:1], "alert_sensor", InstigatorType.SENSOR, came_to, at, error=of_tick, selector_id=ids[1])
        )
        if at == 2.0:
            assert installation.read_status().needs == ()
    assert installation.read_status().needs == ("the ticks of alert_sensor fail: DataError: a NUL",)


@pytest.mark.usefixtures("speaking", "instance")
def test_a_storage_of_dagster_that_cannot_be_read_is_a_sentence(installation: MovedInstallation) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    with psycopg.connect(installation.url, autocommit=True) as admin:
        admin.execute("alter table ldtm_dagster.daemon_heartbeats rename to elsewhere")
    screen = installation.read_status()
    [line] = screen.needs
    assert line.startswith("Dagster's storage cannot be read: ")
    assert "daemon_heartbeats" in line
    assert screen.tables is not None


def test_an_empty_database_says_how_to_begin(new_installation: MovedInstallation) -> None:
    screen = new_installation.read_status()
    assert screen.needs == (
        "nothing was forecast yet: `ldtm bootstrap` loads bars, trains and simulates",
        "Dagster was never started here: run `ldtm up`",
    )
    shown = text(screen)
    assert "no rows for 5 tickers" in shown
    assert "\npending  nothing\n" in shown
    assert "models   0 of 5 tickers have an active model" in shown
    compare_screen("status-new", screen)
    with psycopg.connect(new_installation.url) as conn:
        assert conn.execute("select to_regnamespace('ldtm_dagster')").fetchone() == (None,), "a look makes nothing"


def test_a_schema_that_lacks_steps_says_which_command_applies_them(
    installation: MovedInstallation, empty_database: Database
) -> None:
    screen = installation_status(installation.config, {"LDTM_DATABASE_URL": empty_database.url})
    assert screen.tables is None
    assert screen.needs[0].startswith(f"schema ldtm lacks {len(migrations())} ")
    assert screen.needs[0].endswith("migrations: run `ldtm db migrate`")


def test_a_server_that_does_not_run_is_reported_and_not_started(installation: MovedInstallation) -> None:
    screen = installation_status(installation.config, {})
    assert screen.needs == (
        f"the embedded PostgreSQL of {installation.config.parent}/.ldtm/ldtm is not running: `ldtm up` starts it",
    )
    assert not (installation.config.parent / ".ldtm").exists()
    assert "Dagster  not checked" in text(screen)
    given = installation_status(
        installation.config,
        {"LDTM_DATABASE_URL": "postgresql://me:top-secret@127.0.0.1:1/prices"},
    )
    assert "PostgreSQL at 127.0.0.1:1/prices does not answer" in str(given.needs)
    assert "top-secret" not in str(given)


def test_the_command_ends_with_status_1_when_something_needs_a_person_and_its_json_says_so(
    installation: MovedInstallation,
) -> None:
    shown = run_ldtm(installation.config.parent, installation.url, "status", COLUMNS="80")
    assert (shown.returncode, shown.stderr) == (1, "")
    done = run_ldtm(installation.config.parent, installation.url, "status", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["is_well"], found["dagster"]) == (False, None)
    newest = found["tables"]["newest"]
    assert (newest["without_row"], newest["not_in_service"]) == (list(TICKERS), [])
    assert found["tables"]["counts"]["database_bytes"] > 2**20
    assert f"{len(found['needs'])} things to look at:" in shown.stdout
    needed = {
        "no model is active, so every ticker abstains: `ldtm registry list` shows why",
        "Dagster was never started here: run `ldtm up`",
    }
    assert needed <= set(found["needs"]), "others depend on the time of day, since a deadline may be near"


def test_the_number_of_statements_does_not_depend_on_the_universe(
    conn: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    execute: Callable[..., object] = getattr(psycopg.Cursor, "execute")  # noqa: B009 its overloads are no matter here

    def counted(cursor: object, query: object, *given: object, **options: object) -> object:
        asked.append(query)
        return execute(cursor, query, *given, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    calendar = stored_calendar(conn)
    asked.clear()
    many = tuple(f"T{number:03}" for number in range(300))
    for tickers in (TICKERS, many):
        by_date = PartitionConfig(by="date")
        status(conn, Settings(path=settings.path, tickers=tickers, partitions=by_date), calendar)
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]


def next_ticks(installation: MovedInstallation, moment: datetime) -> dict[str, str]:
    settings, calendar = load_settings(installation.config), exchange_calendar()
    repository = definitions_for(settings, calendar).get_repository_def()
    found = LoadedCode.parse(report_of(repository, code_sha256(), settings, calendar, moment).as_text())
    ticks = {each.name: each.next_tick(moment) for each in found.automation}
    return {name: f"{tick:%Y-%m-%d %H:%M}" for name, tick in ticks.items() if tick is not None}


def test_the_next_run_is_on_a_session_by_the_clock_of_new_york(installation: MovedInstallation) -> None:
    before_thanksgiving = next_ticks(installation, datetime(2026, 11, 26, 0, tzinfo=UTC))
    assert before_thanksgiving["daily_schedule"] == "2026-11-27 23:15"
    assert before_thanksgiving["freshness_schedule"] == "2026-11-27 14:35"
    assert before_thanksgiving["retraining_schedule"] == "2026-11-28 14:00"
    in_summer = next_ticks(installation, datetime(2026, 7, 6, 12, tzinfo=UTC))
    assert in_summer["daily_schedule"] == "2026-07-06 22:15"
    assert in_summer["freshness_schedule"] == "2026-07-06 13:35"


def remember(instance: dg.DagsterInstance, name: str, status: InstigatorStatus) -> None:
    """What Dagster stores of a schedule: a person's choice, or that the default was followed."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("ldtm"), "__repository__"), name
    )
    data = ScheduleInstigatorData("15 18 * * 1-5")
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, status, data))


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("stored", [None, *InstigatorStatus])
def test_the_status_of_a_schedule_is_the_one_that_dagster_decides(
    installation: MovedInstallation, instance: dg.DagsterInstance, enabled: bool, stored: InstigatorStatus | None
) -> None:
    installation.config.write_text(AUTOMATED if enabled else CONFIG)
    report(instance, installation)
    if stored is not None:
        remember(instance, "daily_schedule", stored)
    definitions = definitions_for(load_settings(installation.config), exchange_calendar())
    (schedule,) = [each for each in definitions.schedules or () if each.name == "daily_schedule"]
    assert isinstance(schedule, dg.ScheduleDefinition)
    off_by_dagster = stopped(instance.all_instigator_state(), [schedule])
    dagster = installation.read_status().dagster
    assert dagster is not None
    assert [name for name in dagster.stopped if name == "daily_schedule"] == off_by_dagster
    assert dagster.is_on("daily_schedule") == (not off_by_dagster)
    assert ("daily_schedule" in dagster.started_by_hand) == (stored is InstigatorStatus.RUNNING and not enabled)
    assert ("daily_schedule" in dagster.stopped_by_hand) == (stored is InstigatorStatus.STOPPED and enabled)


def test_what_the_daemon_does_not_have_is_not_listed(
    installation: MovedInstallation, instance: dg.DagsterInstance
) -> None:
    remember(instance, "schedule_of_yesterday", InstigatorStatus.RUNNING)
    dagster = installation.read_status().dagster
    assert dagster is not None
    assert "schedule_of_yesterday" not in str(dagster)
    clear_report(instance)
    screen = installation.read_status()
    assert screen.dagster is not None
    assert (screen.dagster.has_reported, screen.dagster.next_ticks, screen.dagster.stopped) == (False, (), ())
    assert "shown about half a minute after the start, once the sensors have reported" in flat(screen)


def test_other_code_than_the_loaded_one_is_reported(
    installation: MovedInstallation, instance: dg.DagsterInstance
) -> None:
    with psycopg.connect(installation.url, autocommit=True) as admin:
        admin.execute(
            "update ldtm_dagster.kvs set value = jsonb_set(value::jsonb, '{code_sha256}', '\"older\"')::text "
            "where key = 'ldtm/loaded_code'"
        )
    line = "the code of LDTM changed since Dagster was started: `ldtm up` applies the change"
    assert line in installation.read_status().needs


@pytest.mark.usefixtures("speaking", "instance")
def test_a_fork_of_the_published_record_and_a_failed_verification_need_a_person(
    installation: MovedInstallation,
) -> None:
    installation = installation.opens_in(HALF_A_DAY)
    installation.records(*TICKERS)
    seals = installation.config.parent / ".ldtm" / "ldtm" / "seals.jsonl"
    seals.parent.mkdir(parents=True, exist_ok=True)
    line = {"seal_id": 0, "session": "2013-01-18", "sha256": "ab" * 32, "leaves": ""}
    seals.write_text(json.dumps(line, separators=(",", ":")) + "\n")
    [found] = installation.read_status().needs
    assert found.startswith(
        f"file {seals}: seal 0 was published as abababababababab... and the database ends with no seal"
    )
    seals.unlink()
    altered = AuditReport(
        num_events=1,
        num_seals=1,
        num_unsealed=0,
        newest_seal=None,
        discrepancies=(Discrepancy(what="altered", message="the forecast of AAPL was altered"),),
        publications=(),
        live=LiveRows(),
        notes=(),
    )
    note_verification(installation.rows.conn, altered)
    assert installation.read_status().needs == (
        "the record: it differs from what was recorded or published (1 found): the forecast of AAPL was altered",
    )


def test_the_status_imports_neither_dagster_nor_torch(installation: MovedInstallation) -> None:
    looked = (
        "import os, sys; from pathlib import Path; from ldtm_cli.commands.status import status\n"
        "from ldtm_cli.installation_status import installation_status\n"
        "installation_status(Path('universe.toml'), os.environ)\n"
        "print(*sorted({'dagster', 'torch', 'pandas', 'scipy', 'polars', 'cryptography'} & {*sys.modules}))"
    )
    environment = {**os.environ, "LDTM_DATABASE_URL": installation.url, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", looked],
        cwd=installation.config.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
