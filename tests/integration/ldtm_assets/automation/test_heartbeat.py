"""The dead man's switch: one ping in five minutes, only while all is alive, and its address in no message."""

import os
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from ldtm_assets.automation.heartbeat import heartbeat_sensor
from ldtm_cli.services import prepare_dagster
from ldtm_lib.alerts.secrets import without_secrets
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable
from ldtm_lib.maintenance import heartbeat
from ldtm_lib.project import Project
from ldtm_lib.settings import Settings
from tests.integration.alerts.receiver import SECRET, Receiver, listening
from tests.integration.dagster_storage import dagster_instance

DAEMON = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with listening() as server:
        monkeypatch.setenv("LDTM_HEARTBEAT_URL", address(server))
        yield server


def address(server: Receiver) -> str:
    return f"http://127.0.0.1:{server.server_port}/{SECRET}"


@pytest.fixture
def project(database: Database, settings: Settings, tmp_path: Path) -> Project:
    return Project(settings=settings, home=tmp_path, database=database)


@pytest.fixture
def instance(tmp_path: Path, database: Database) -> Iterator[dg.DagsterInstance]:
    """A storage of Dagster's in which all of a daemon was heard of just now."""
    with dagster_instance(database, tmp_path) as instance:
        for part in DAEMON:
            beat(instance, part)
        yield instance


def beat(instance: dg.DagsterInstance, part: str, seconds_ago: float = 0) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - seconds_ago, part, "a", []))


def tick(project: Project, instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[str, str | None]:
    """What one tick says, and the cursor that it leaves."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    said = heartbeat_sensor(lambda: project)(context)
    assert isinstance(said, dg.SkipReason)
    assert said.skip_message is not None
    assert SECRET not in said.skip_message
    return said.skip_message, context.cursor


def test_it_beats_once_in_five_minutes(project: Project, instance: dg.DagsterInstance, receiver: Receiver) -> None:
    said, cursor = tick(project, instance)
    assert said == "heartbeat sent"
    assert [path for path, _, _ in receiver.taken] == [f"/{SECRET}"]
    assert cursor is not None
    assert tick(project, instance, cursor)[0] == "the last heartbeat is younger than five minutes"
    assert len(receiver.taken) == 1
    assert tick(project, instance, str(float(cursor) - 301))[0] == "heartbeat sent"
    assert tick(project, instance, str(float(cursor) + 9999))[0] == "heartbeat sent", "after a clock that went wrong"
    assert len(receiver.taken) == 3


@pytest.mark.parametrize("dead", DAEMON)
def test_it_stays_away_while_a_part_of_the_daemon_is_dead(
    project: Project, instance: dg.DagsterInstance, receiver: Receiver, dead: str
) -> None:
    beat(instance, dead, seconds_ago=90)
    said, cursor = tick(project, instance)
    assert said.startswith("no heartbeat: Dagster runs without ")
    assert (receiver.taken, cursor) == ([], None)


def test_it_stays_away_when_the_database_does_not_answer(
    project: Project, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    gone = Database(url="postgresql://127.0.0.1:1/prices", schema="ldtm")
    with pytest.raises(DatabaseUnavailable):
        tick(Project(settings=project.settings, home=project.home, database=gone), instance)
    assert receiver.taken == []


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.taken.append((self.path, "", {}))
        if self.server.answer == 0:
            self.wfile.write(b"this is no HTTP\r\n")
            return
        self.send_response(self.server.answer, f"{SECRET} refused")
        self.send_header("Location", f"/{SECRET}/login")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.mark.parametrize(
    ("answer", "why"),
    [(404, "it answered 404"), (302, "it answered 302"), (0, "no valid answer (BadStatusLine)")],
)
def test_a_ping_that_is_not_taken_is_a_skipped_tick_that_says_why(
    project: Project, instance: dg.DagsterInstance, receiver: Receiver, answer: int, why: str
) -> None:
    receiver.RequestHandlerClass = Refusing
    receiver.answer = answer
    said, cursor = tick(project, instance)
    assert said == f"no heartbeat: the address in LDTM_HEARTBEAT_URL did not accept it: {why}"
    assert len(receiver.taken) == 1, "a redirect is not followed"
    assert tick(project, instance, cursor)[0] == "the last heartbeat is younger than five minutes"


def test_nobody_there_and_nobody_who_answers_in_time(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        for url in (f"http://{place}/{SECRET}", f"http://{SECRET}.invalid/", f"http://me:{SECRET}@{place}/"):
            monkeypatch.setenv("LDTM_HEARTBEAT_URL", url)
            assert "did not accept it: no valid answer (" in tick(project, instance)[0]
        silent.listen()
        monkeypatch.setenv("LDTM_HEARTBEAT_URL", f"http://{place}/{SECRET}")
        monkeypatch.setattr(heartbeat, "TIMEOUT_SECONDS", 1.0)
        assert tick(project, instance)[0].endswith("did not accept it: no answer within 1 seconds")


@pytest.mark.parametrize("url", [f"ftp://example.org/{SECRET}", f"hc-ping.com/{SECRET}", f"https://x/{SECRET} y"])
def test_what_is_no_web_address_is_refused_at_the_start_without_showing_it(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LDTM_HEARTBEAT_URL", url)
    said, _ = tick(project, instance)
    assert said.startswith(
        "no heartbeat: LDTM_HEARTBEAT_URL is not a web address; write one such as https://hc-ping.com/"
    )
    with pytest.raises(ConfigurationError) as refused:
        prepare_dagster(project)
    assert SECRET not in str(refused.value)


def test_without_an_address_nothing_is_sent(
    project: Project, instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LDTM_HEARTBEAT_URL")
    assert tick(project, instance)[0] == "LDTM_HEARTBEAT_URL names no address"
    assert receiver.taken == []


@pytest.mark.usefixtures("receiver")
def test_no_message_shows_the_address() -> None:
    url = os.environ["LDTM_HEARTBEAT_URL"]
    assert SECRET not in without_secrets(f"a step said {url} in its log", os.environ)
