"""The alert sensor on Dagster's own storage in real PostgreSQL: real runs, real events, a real receiver."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy import Engine, event
from sqlalchemy.exc import ProgrammingError

from ldtm_assets.alerting import sensor as alert_sensor_module
from ldtm_assets.alerting.health_checks import check_ticks
from ldtm_assets.alerting.sensor import alert_sensor
from ldtm_assets.asset_checks.scope import FAILING, CheckScope
from ldtm_assets.partitions import partition_range
from ldtm_assets.run_tags import DAILY_RUN_TAG, PENDING_RETRY_TAG
from ldtm_cli.services import dagster_environment
from ldtm_lib.alerts.alert import Alert, open_alerts, raise_alerts
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import Project
from ldtm_lib.settings import AlertsConfig, Settings, load_settings
from tests.integration.alerts.receiver import SECRET, Receiver, listening

SESSION = date(2026, 11, 20)
OF_SESSION = partition_range(f"{SESSION}|AAPL", f"{SESSION}|MSFT")
ROWS, INTACT, GATE = ("snapshots", "every_ticker_has_a_row"), ("snapshots", "record_is_intact"), ("registry", "folds")
SPECS = [dg.AssetCheckSpec(name, asset=asset) for asset, name in (ROWS, INTACT, GATE)]
PASSWORD = "pa55word"


class WorkConfig(dg.Config):
    """What a run does."""

    failed: list[str] = []  # noqa: RUF012
    tickers: list[str] = []  # noqa: RUF012
    """Whose own evaluations fail beside the summary."""
    dies_of: str = ""
    failed_parts: list[str] = [str(SESSION)]  # noqa: RUF012
    """Of the check of rows, the sessions that are in alert when it fails."""
    well_parts: list[str] = [str(SESSION)]  # noqa: RUF012
    """And those that are well when it passes."""
    waits: bool = False
    """Whether the run says at its end that partitions wait, as the tag on it."""
    says_nonsense: bool = False
    """Whether that check's verdict is none."""
    fails_by_itself: bool = False
    """Whether it says why it ends, as steps of LDTM do."""


@dg.multi_asset_check(name="work", specs=SPECS)
def work(context: dg.AssetCheckExecutionContext, config: WorkConfig) -> Iterator[dg.AssetCheckResult]:
    for spec in SPECS:
        for ticker in config.tickers:
            evaluation = dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=False,
                metadata={},
                partition=ticker,
                severity=dg.AssetCheckSeverity.WARN,
            )
            context.op_execution_context.log_event(evaluation)  # pyright: ignore
        yield dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=spec.name not in config.failed,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata=_verdict(config) if spec.name == ROWS[1] else {"rows": 103, "found": "row 7"},
        )
    if config.waits:
        context.instance.add_run_tags(context.run.run_id, {PENDING_RETRY_TAG: f"{context.run.run_id} 2"})
    if config.fails_by_itself:
        raise dg.Failure(config.dies_of, allow_retries=False)
    if config.dies_of:
        raise RuntimeError(config.dies_of)


def _verdict(config: WorkConfig) -> dict[str, dg.MetadataValue]:
    if config.says_nonsense:
        return CheckScope(failing={}, passing=[]).metadata() | {FAILING: dg.MetadataValue.json(["not by its part"])}
    if ROWS[1] not in config.failed:
        return CheckScope(failing={}, passing=config.well_parts).metadata()
    return CheckScope(failing=dict.fromkeys(config.failed_parts, "no row of AAPL"), passing=[]).metadata()


DEFINITIONS = dg.Definitions(
    assets=[dg.AssetSpec(name) for name in ("snapshots", "registry")],
    asset_checks=[work],
    jobs=[dg.define_asset_job("daily_job", selection=dg.AssetSelection.checks(work))],
)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with listening() as server:
        monkeypatch.setenv("LDTM_ALERT_URLS", server.url)
        yield server


@pytest.fixture
def project(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(settings=settings, home=settings.path.parent, database=database)
    for name, value in dagster_environment(project).items():
        monkeypatch.setenv(name, value)
    return project


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


@dataclass
class Sensor:
    """Ticks as the daemon does, with the cursor that the tick before left."""

    project: Project
    instance: dg.DagsterInstance
    cursor: str | None = None
    said: list[str] = field(default_factory=list[str])
    definitions: dg.Definitions = field(default_factory=dg.Definitions)
    """What else its code location has."""

    def __post_init__(self) -> None:
        self.definition = alert_sensor(self.opens)

    def opens(self) -> Project:
        return self.project

    def __call__(self) -> None:
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions
        ) as context:
            ticked = self.definition.evaluate_tick(context)
        assert not ticked.run_requests
        self.said.append(str(ticked.skip_message))
        self.cursor = ticked.cursor


@pytest.fixture
def sensor(project: Project, instance: dg.DagsterInstance) -> Sensor:
    """A sensor that has ticked once, before anything happened."""
    sensor = Sensor(project, instance)
    sensor()
    return sensor


Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run(instance: dg.DagsterInstance) -> Run:
    def execute(
        failed: Sequence[str] = (), *, tags: dict[str, str] = OF_SESSION, **config: object
    ) -> dg.ExecuteInProcessResult:
        return DEFINITIONS.resolve_job_def("daily_job").execute_in_process(
            instance=instance,
            tags=tags,
            raise_on_error=False,
            run_config={
                "ops": {"work": {"config": {"failed": [*failed], **config}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )

    return execute


def titles(receiver: Receiver) -> list[str]:
    return [title.partition(" [notification")[0] for title, _ in receiver.messages]


def test_the_sensor_is_on_polls_every_half_minute_and_launches_nothing(project: Project) -> None:
    sensor = alert_sensor(lambda: project)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30
    assert not sensor.has_jobs


def test_a_failed_check_is_notified_once_and_resolved_once(sensor: Sensor, run: Run, receiver: Receiver) -> None:
    run([ROWS[1]])
    for _ in range(3):
        sensor()
    [(title, body)] = receiver.messages
    assert title == "LDTM 2026-11-20: 1 error [notification 1]"
    assert body == (
        "http://127.0.0.1:3000/assets/snapshots?view=checks&checkDetail=every_ticker_has_a_row\n\n"
        "ERROR  check  snapshots/every_ticker_has_a_row  no row of AAPL"
    )
    run()
    for _ in range(3):
        sensor()
    assert titles(receiver)[1:] == ["LDTM 2026-11-20: 1 resolved"]


def test_a_daemon_that_begins_anew_reads_the_same_events_and_notifies_nobody_again(
    sensor: Sensor, run: Run, receiver: Receiver
) -> None:
    begun_at = sensor.cursor
    run([ROWS[1]])
    sensor()
    run()
    sensor()
    run([INTACT[1]], dies_of="no disk")
    sensor()
    notified = titles(receiver)
    assert notified == ["LDTM 2026-11-20: 1 error", "LDTM 2026-11-20: 1 resolved", "LDTM 2026-11-20: 2 errors"]
    for _ in range(2):
        sensor.cursor = begun_at
        sensor()
        sensor()
    assert titles(receiver) == notified


def test_events_before_the_first_tick_are_not_notified(
    project: Project, instance: dg.DagsterInstance, run: Run, receiver: Receiver
) -> None:
    run([ROWS[1]], dies_of="no disk")
    sensor = Sensor(project, instance)
    sensor()
    sensor()
    assert receiver.taken == []


def test_the_evaluations_of_single_tickers_and_the_checks_of_the_gate_are_not_notified(
    sensor: Sensor, run: Run, receiver: Receiver
) -> None:
    run([GATE[1]], tickers=["AAPL", "MSFT"])
    sensor()
    assert receiver.taken == []


def test_a_check_of_the_whole_record_is_resolved_in_a_later_session_and_one_of_its_session_is_not(
    sensor: Sensor, run: Run, receiver: Receiver, project: Project
) -> None:
    run([ROWS[1], INTACT[1]])
    sensor()
    run(tags=partition_range("2026-11-23|AAPL", "2026-11-23|MSFT"), well_parts=["2026-11-23"])
    sensor()
    assert titles(receiver) == ["LDTM 2026-11-20: 2 errors", "LDTM 2026-11-20: 1 resolved"]
    with project.database.transaction() as conn:
        assert [alert.key for alert in open_alerts(conn)] == ["check/snapshots/every_ticker_has_a_row/2026-11-20"]


def test_a_failed_run_is_notified_with_its_reason_and_without_secrets_and_a_later_success_resolves_it(
    sensor: Sensor, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDTM_IB_PASSWORD", PASSWORD)
    result = run(dies_of=f"no answer of postgresql://me:{PASSWORD}@db/x\nand {PASSWORD}\nand {receiver.url}\nand more")
    sensor()
    [(title, body)] = receiver.messages
    assert title == "LDTM 2026-11-20: 1 error [notification 1]"
    assert body == (
        f"http://127.0.0.1:3000/runs/{result.run_id}\n\n"
        "ERROR  run  daily_job  failed for 2026-11-20|AAPL to 2026-11-20|MSFT: RuntimeError: no answer of "
        "postgresql://***@db/x and *** and ***"
    )
    run()
    sensor()
    assert titles(receiver)[1:] == ["LDTM 2026-11-20: 1 resolved"]


def test_each_session_of_a_rectangle_has_its_alert_and_is_resolved_by_a_check_that_covers_it(
    sensor: Sensor, run: Run, receiver: Receiver
) -> None:
    run([ROWS[1]], failed_parts=["2026-11-18", "2026-11-19"])
    sensor()
    assert sorted(titles(receiver)) == ["LDTM 2026-11-18: 1 error", "LDTM 2026-11-19: 1 error"]
    run(well_parts=[])
    run(well_parts=["2026-11-20"])
    sensor()
    assert len(receiver.taken) == 2, "a run of other sessions, or of some tickers, says nothing of these"
    run(well_parts=["2026-11-19"])
    sensor()
    assert titles(receiver)[2:] == ["LDTM 2026-11-19: 1 resolved"]


DAILY_RUN = OF_SESSION | {DAILY_RUN_TAG: str(SESSION)}


def test_a_daily_run_that_fails_all_night_is_notified_once_and_resolved_by_a_run_that_finishes(
    sensor: Sensor, run: Run, receiver: Receiver
) -> None:
    """Tickers that fail and wait do not keep it from that; a run of another session does."""
    for _ in range(4):
        run(dies_of="the same bug", tags=DAILY_RUN)
        sensor()
    assert titles(receiver) == ["LDTM 2026-11-20: 1 error"]
    run(tags=partition_range("2026-11-19|AAPL", "2026-11-19|MSFT") | {DAILY_RUN_TAG: "2026-11-19"})
    sensor()
    assert len(receiver.taken) == 1
    run(
        dies_of="2 partitions wait",
        waits=True,
        tags=partition_range("2026-11-20|AAPL", "2026-11-23|MSFT") | {DAILY_RUN_TAG: "2026-11-23"},
    )
    sensor()
    assert titles(receiver)[1:] == ["LDTM 2026-11-20: 1 resolved"]


def test_a_run_of_other_partitions_does_not_resolve_the_alert_of_one(
    sensor: Sensor, run: Run, receiver: Receiver
) -> None:
    run(dies_of="no disk")
    sensor()
    run(tags={"dagster/partition": "2020-01-02|IBM"})
    sensor()
    assert titles(receiver) == ["LDTM 2026-11-20: 1 error"]
    run()
    sensor()
    assert titles(receiver)[1:] == ["LDTM 2026-11-20: 1 resolved"]


def test_a_run_that_repeats_one_whose_partitions_waited_is_notified_when_it_dies(
    sensor: Sensor, instance: dg.DagsterInstance, run: Run, receiver: Receiver
) -> None:
    first = run(dies_of="2 partitions wait", waits=True, tags=DAILY_RUN)
    parent = instance.get_run_by_id(first.run_id)
    assert parent is not None
    run(dies_of="killed", tags=DAILY_RUN | {PENDING_RETRY_TAG: parent.tags[PENDING_RETRY_TAG]})
    sensor()
    assert titles(receiver) == ["LDTM 2026-11-20: 1 error"]


@pytest.mark.parametrize(
    "tags",
    [
        partition_range("2026-02-30|AAPL", "2026-02-30|MSFT"),
        partition_range("2026-11-20|AAPL", "2026-11-19|MSFT") | {DAILY_RUN_TAG: "2026-11-19"},
        partition_range("0001-01-01|AAPL", "2026-11-20|MSFT") | {DAILY_RUN_TAG: "2026-11-20"},
        {"dagster/partition": "2026-13-01|AAPL"},
    ],
)
def test_partitions_that_dagster_did_not_validate_do_not_affect_other_alerts(
    sensor: Sensor, run: Run, receiver: Receiver, project: Project, tags: dict[str, str]
) -> None:
    """Impossible days, ranges that begin after their end, or with the year 1."""
    run(dies_of="no disk", tags=tags)
    run([ROWS[1]])
    sensor()
    notified = "\n".join(body for _, body in receiver.messages)
    assert notified.count("RuntimeError: no disk") == notified.count("no row of AAPL") == 1
    run(tags=tags, well_parts=[])
    sensor()
    with project.database.transaction() as conn:
        assert [alert.kind for alert in open_alerts(conn)] == ["check"]


def test_an_event_that_cannot_be_read_is_notified_once_and_does_not_affect_the_others(
    sensor: Sensor, run: Run, receiver: Receiver
) -> None:
    begun_at = sensor.cursor
    bad = run(says_nonsense=True)
    run([INTACT[1]], dies_of="no disk")
    sensor()
    assert sensor.cursor is not None
    bodies = "\n".join(body for _, body in receiver.messages)
    assert f"an event of run {bad.run_id} could not be read: AssertionError()" in bodies
    assert "snapshots/record_is_intact" in bodies
    assert "RuntimeError: no disk" in bodies
    num = len(receiver.taken)
    sensor.cursor = begun_at
    sensor()
    assert len(receiver.taken) == num


@pytest.mark.parametrize("text", ["bad \0 file", "bad name \udcff"])
def test_a_failure_whose_text_postgresql_refuses_is_notified(
    sensor: Sensor, run: Run, receiver: Receiver, text: str
) -> None:
    run(dies_of=text)
    sensor()
    assert titles(receiver) == ["LDTM 2026-11-20: 1 error"]


def test_recorded_alerts_are_notified_although_the_events_cannot_be_read_and_the_tick_fails(
    sensor: Sensor, receiver: Receiver, project: Project, instance: dg.DagsterInstance, run: Run
) -> None:
    run([ROWS[1]])
    with project.dagster_database.transaction() as conn:
        conn.execute("alter table event_logs rename to elsewhere")
    with project.database.transaction() as conn:
        raise_alerts(conn, [ticker_alert("AAPL")])
    with pytest.raises(ProgrammingError):
        sensor()
    assert titles(receiver) == ["LDTM 2026-11-20: 1 warning"]


def test_a_step_that_gives_its_reason_is_notified_in_its_own_words(
    sensor: Sensor, run: Run, receiver: Receiver
) -> None:
    run(dies_of="3 partitions failed, the others are recorded", fails_by_itself=True)
    sensor()
    [(_, body)] = receiver.messages
    notified = (
        "ERROR  run  daily_job  failed for 2026-11-20|AAPL to 2026-11-20|MSFT: 3 partitions failed, the others are"
    )
    assert notified in body


def test_a_run_whose_partitions_wait_or_that_dagster_retries_is_not_notified_and_the_last_one_is(
    sensor: Sensor, instance: dg.DagsterInstance, run: Run, receiver: Receiver
) -> None:
    run([ROWS[1]], dies_of="2 partitions wait", waits=True, failed_parts=[])
    for num_retries in ("1", "0"):
        assert receiver.taken == []
        tags = OF_SESSION | {"dagster/max_retries": num_retries}
        killed = create_run_for_test(
            instance, job_name="leaderboard_job", tags=tags, status=dg.DagsterRunStatus.STARTED
        )
        instance.report_run_failed(killed, "its process died")
        sensor()
    [(_, body)] = receiver.messages
    assert "ERROR  run  leaderboard_job  failed for 2026-11-20|AAPL to 2026-11-20|MSFT: its process died" in body


def test_103_tickers_a_check_and_a_run_are_one_notification(
    sensor: Sensor, run: Run, receiver: Receiver, project: Project
) -> None:
    run([ROWS[1]], dies_of="no disk")
    with project.database.transaction() as conn:
        raise_alerts(conn, [ticker_alert(f"T{n:03}") for n in range(103)])
    sensor()
    [(title, body)] = receiver.messages
    assert title == "LDTM 2026-11-20: 2 errors, 103 warnings [notification 1]"
    assert sum(line.startswith("WARN   ticker  T") for line in body.splitlines()) == 103


def ticker_alert(ticker: str) -> Alert:
    return Alert(
        key=f"ticker/{SESSION}/{ticker}",
        kind="ticker",
        severity="warning",
        session=SESSION,
        subject=ticker,
        summary="failed 4 times: no bar",
        link=f"/assets/snapshots?partition={SESSION}%7C{ticker}",
    )


@pytest.mark.parametrize("job", ["daily_job", "retraining_job"])
def test_a_notification_waits_for_a_daily_run_or_a_training_under_way_and_not_for_ever(
    sensor: Sensor, instance: dg.DagsterInstance, run: Run, receiver: Receiver, project: Project, job: str
) -> None:
    running = create_run_for_test(instance, job_name=job, status=dg.DagsterRunStatus.STARTED)
    run([ROWS[1]])
    sensor()
    assert receiver.taken == []
    with project.database.transaction() as conn:
        raise_alerts(conn, [replace(ticker_alert("AAPL"), seen_at=datetime.now(UTC) - timedelta(minutes=9.9))])
    sensor()
    assert receiver.taken == []
    sensor.project = replace(project, settings=project.settings.replace(alerts=AlertsConfig(hold_minutes=9)))
    sensor()
    assert titles(receiver) == ["LDTM 2026-11-20: 1 error, 1 warning"]
    sensor.project = project
    run([INTACT[1]])
    sensor()
    assert len(receiver.taken) == 1
    instance.report_run_canceled(running)
    sensor()
    assert len(receiver.taken) == 2


def test_an_invalid_address_is_reported_and_alerts_raised_meanwhile_are_notified_once_it_is_corrected(
    sensor: Sensor, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDTM_ALERT_URLS", f"hooks.example.org/{SECRET}")
    run([ROWS[1]])
    sensor()
    assert sensor.said[-1].startswith("nobody is notified: address 1 of 1 in LDTM_ALERT_URLS is not an address")
    assert SECRET not in sensor.said[-1]
    monkeypatch.setenv("LDTM_ALERT_URLS", receiver.url)
    sensor()
    assert sensor.said[-1] == "1 notification composed, 1 delivered to 1 channel"
    assert len(receiver.taken) == 1


def test_a_channel_that_is_down_does_not_fail_the_tick(sensor: Sensor, run: Run, receiver: Receiver) -> None:
    receiver.answer = 503
    run([ROWS[1]])
    sensor()
    assert (
        sensor.said[-1]
        == f"1 notification composed, 0 delivered to 1 channel; not delivered: {receiver.shown_as} answered 503"
    )
    sensor()
    assert sensor.said[-1] == "0 notifications composed, 0 delivered to 1 channel"


def test_more_events_than_a_tick_reads_are_read_by_the_next_ones(
    sensor: Sensor, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_sensor_module, "EVENTS_AT_ONCE", 2)
    monkeypatch.setattr(alert_sensor_module, "SETTLED_SECONDS", 0.0)
    run([ROWS[1]], tickers=["AAPL"])
    run([ROWS[1], INTACT[1]], tickers=["AAPL"], dies_of="no disk")
    for _ in range(8):
        sensor()
    assert sum(int(title.split(": ")[1].split()[0]) for title in titles(receiver)) == 3


def test_an_event_that_comes_to_light_after_a_younger_one_is_not_missed(
    sensor: Sensor, run: Run, receiver: Receiver, instance: dg.DagsterInstance, project: Project
) -> None:
    """Storage ids are given before a transaction commits: the younger event may be seen first."""
    run([ROWS[1]])
    with project.dagster_database.transaction() as conn:
        moved = conn.execute(
            "update event_logs set id = id + 1000000 where dagster_event_type = 'ASSET_CHECK_EVALUATION' returning id"
        ).fetchall()
    run(dies_of="no disk", tags=partition_range("2026-11-23|AAPL", "2026-11-23|MSFT"), well_parts=[])
    with project.dagster_database.transaction() as conn:
        hidden = conn.execute("update event_logs set id = -id where id > 1000000 returning id").fetchall()
    sensor()
    assert len(moved) == 3
    assert len(hidden) == 3
    assert titles(receiver) == ["LDTM 2026-11-23: 1 error"]
    with project.dagster_database.transaction() as conn:
        conn.execute("update event_logs set id = -id - 1000000 where id < 0")
    sensor()
    assert titles(receiver) == ["LDTM 2026-11-23: 1 error", "LDTM 2026-11-20: 1 error"]


def test_a_tick_with_nothing_new_costs_few_statements_whatever_was_before(
    sensor: Sensor, run: Run, receiver: Receiver, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    execute = psycopg.Cursor.execute

    def counting(cursor: psycopg.Cursor[object], *args: object, **kwargs: object) -> object:
        sent.append(args[0])
        return execute(cursor, *args, **kwargs)  # pyright: ignore

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    monkeypatch.setattr(alert_sensor_module, "SETTLED_SECONDS", 0.0)
    sensor()
    idle = len(sent)
    for number in (1, 103):
        with project.database.transaction() as conn:
            raise_alerts(conn, [ticker_alert(f"T{n:03}") for n in range(number)])
        run([ROWS[1]], dies_of="no disk")
        sensor()
        sent.clear()
        sensor()
        assert len(sent) == idle
    assert idle <= 9, "two of them look for migrations that are not applied"


def test_an_error_in_the_configuration_is_notified_once_and_stops_no_notification(
    sensor: Sensor, run: Run, receiver: Receiver, project: Project
) -> None:
    path = project.settings.path
    path.write_text('tickers = ["AAPL"]\n')

    def opens() -> Project:
        load_settings(path)
        return project

    sensor.definition = alert_sensor(opens)
    sensor()
    path.write_text('tickers = ["AAPL",\n[alerts]\n')
    run([ROWS[1]])
    for _ in range(3):
        sensor()
    assert sorted(titles(receiver)) == ["LDTM 2026-11-20: 1 error", "LDTM: 1 error"]
    [body] = [body for title, body in receiver.messages if title.startswith("LDTM: ")]
    assert f"ERROR  settings  the configuration  {path} is not valid TOML: " in body
    path.write_text('tickers = ["AAPL"]\n')
    sensor()
    sensor()
    assert titles(receiver)[2:] == ["LDTM: 1 resolved"]


def test_a_configuration_that_never_opened_fails_the_tick(instance: dg.DagsterInstance, project: Project) -> None:
    def opens() -> Project:
        raise ConfigurationError("there is no configuration")

    sensor = Sensor(project, instance)
    sensor.definition = alert_sensor(opens)
    with pytest.raises(ConfigurationError, match="there is no configuration"):
        sensor()


@dg.sensor(name="watching", job_name="daily_job")
def watching() -> dg.SkipReason:
    return dg.SkipReason("nothing to do")


@dg.schedule(name="nightly", cron_schedule="0 0 * * *", job_name="daily_job")
def nightly() -> dg.SkipReason:
    return dg.SkipReason("nothing to do")


LOCATION = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="ldtm_assets.definitions"))


@dataclass
class Ticks:
    """Ticks of a schedule or a sensor, as a daemon leaves them in Dagster's storage."""

    instance: dg.DagsterInstance
    name: str
    kind: InstigatorType
    num: int = 0

    def __post_init__(self) -> None:
        origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(LOCATION, "__repository__"), self.name)
        of_schedule = ScheduleInstigatorData("0 0 * * *") if self.kind == InstigatorType.SCHEDULE else None
        self.state = InstigatorState(origin, self.kind, InstigatorStatus.RUNNING, of_schedule)
        self.instance.add_instigator_state(self.state)

    def __call__(self, *statuses: TickStatus, message: str = "no route to host") -> None:
        for status in statuses:
            self.num += 1
            error = SerializableErrorInfo(message and f"OSError: {message}\nmore", [], "OSError")
            self.instance.create_tick(
                TickData(
                    instigator_origin_id=self.state.instigator_origin_id,
                    instigator_name=self.name,
                    instigator_type=self.kind,
                    status=status,
                    timestamp=1e9 + self.num,
                    selector_id=self.state.selector_id,
                    run_ids=[],
                    error=error if status == TickStatus.FAILURE else None,
                )
            )

    def stop(self) -> None:
        self.state = self.state.with_status(InstigatorStatus.STOPPED)
        self.instance.update_instigator_state(self.state)


WORKS, FAILS, BEGAN = TickStatus.SUCCESS, TickStatus.FAILURE, TickStatus.STARTED


@pytest.fixture
def located(sensor: Sensor) -> Sensor:
    """A sensor whose code location has a schedule and another sensor."""
    sensor.definitions = dg.Definitions(
        assets=DEFINITIONS.assets,
        asset_checks=DEFINITIONS.asset_checks,
        jobs=DEFINITIONS.jobs,
        sensors=[watching],
        schedules=[nightly],
    )
    return sensor


def test_a_sensor_that_fails_at_each_tick_is_one_alert_until_it_works_again(
    located: Sensor, instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDTM_IB_PASSWORD", PASSWORD)
    ticks = Ticks(instance, "watching", InstigatorType.SENSOR)
    for _ in range(4):
        ticks(WORKS, FAILS)
        located()
    assert receiver.taken == [], "a failure of every other tick raises no alert"
    for _ in range(4):
        ticks(FAILS, BEGAN, message=f"no route to {PASSWORD}")
        located()
    [(title, body)] = receiver.messages
    assert title == "LDTM: 1 error [notification 1]"
    assert body == (
        "http://127.0.0.1:3000/automation\n\nERROR  automation  watching  its ticks fail: OSError: no route to ***"
    )
    ticks(WORKS)
    located()
    assert len(receiver.taken) == 1
    ticks(WORKS)
    located()
    located()
    assert titles(receiver)[1:] == ["LDTM: 1 resolved"]


def test_a_schedule_that_failed_once_is_notified_and_resolved_when_it_works_or_is_turned_off(
    located: Sensor, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    ticks = Ticks(instance, "nightly", InstigatorType.SCHEDULE)
    for end in (lambda: ticks(WORKS), ticks.stop):
        receiver.taken.clear()
        ticks(FAILS)
        located()
        located()
        end()
        located()
        assert titles(receiver) == ["LDTM: 1 error", "LDTM: 1 resolved"]


def test_a_tick_that_failed_without_a_reason_is_notified_as_such(
    located: Sensor, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    Ticks(instance, "nightly", InstigatorType.SCHEDULE)(FAILS, message="")
    located()
    [(_, body)] = receiver.messages
    assert "ERROR  automation  nightly  its ticks fail: no reason is on record" in body


def test_what_fails_of_many_sensors_is_found_in_as_many_statements_as_of_one(
    instance: dg.DagsterInstance,
) -> None:
    used: list[int] = []
    sent: list[str] = []

    def count(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", count)
    sensors = [dg.SensorDefinition(f"watching_{n}", evaluation_fn=watching, job_name="daily_job") for n in range(9)]
    for before, num in ((0, 1), (1, 9)):
        for sensor in sensors[before:num]:
            Ticks(instance, sensor.name, InstigatorType.SENSOR)(FAILS, FAILS)
        sent.clear()
        assert len(check_ticks(instance, [], sensors[:num]).alerts) == num
        used.append(len(sent))
    event.remove(Engine, "before_cursor_execute", count)
    assert used[0] == used[1] <= 6


def test_an_invalid_address_is_notified_through_the_valid_channels(
    sensor: Sensor, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDTM_ALERT_URLS", f"hooks.example.org/{SECRET} {receiver.url}")
    run([ROWS[1]])
    sensor()
    sensor()
    assert sorted(titles(receiver)) == ["LDTM 2026-11-20: 1 error", "LDTM: 1 error"]
    [body] = [body for title, body in receiver.messages if title.startswith("LDTM: ")]
    assert "ERROR  settings  LDTM_ALERT_URLS  address 1 of 2 in LDTM_ALERT_URLS is not an address" in body
    assert SECRET not in body + sensor.said[-1]
    monkeypatch.setenv("LDTM_ALERT_URLS", receiver.url)
    sensor()
    assert titles(receiver)[2:] == ["LDTM: 1 resolved"]
