"""The container stack on a real engine: from nothing to forecasts, with every process killed at least once."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bokeh_sampledata import stocks

from tests.acceptance.containers.engine import BASE_IMAGE, Engine, docker_engine, missing_for_an_engine
from tests.acceptance.containers.stack import Stack
from tests.repository import REPOSITORY

MISSING = missing_for_an_engine()
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.docker,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

SCHEMA = "ldtm_demo"
TICKERS = ("AAPL", "IBM")
FIRST_BAR = "2009-09-01"
"""Enough bars for two folds, and no split."""
TRAINED_ON, SESSION, NEXT_SESSION, LAST_SESSION = "2013-02-22", "2013-02-26", "2013-02-27", "2013-02-28"
USER = 10001
SIMULATED = {"daily_forecast": {"config": {"simulated": True}}}
OTHER_DAYS = iter(f"2013-02-{day:02}" for day in (21, 20, 19, 15, 14, 13, 12, 11))
"""A training of a day of its own is never up to date."""
SECONDS_UNTIL_FAILED = 120
"""Run monitoring looks every 30 s (dagster.yaml), and twice where the first look comes before the kill."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with docker_engine() as found:
        yield found


@pytest.fixture(scope="module")
def stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on a folder of the user's own: two tickers of the demo, small networks, bars of three years."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = tmp_path_factory.mktemp("installation")
    text = (REPOSITORY / "demo.toml").read_text()
    for old, new in (
        ('tickers = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]', f'tickers = ["{TICKERS[0]}", "{TICKERS[1]}"]'),
        ("max_epochs = 7\n", "max_epochs = 12\n"),
        ('kind = "sample" ', 'kind = "files"\nfolder = "bars"\nbasis = "adjusted" '),
        ("[training]", "[architecture]\nhidden = 16\n\n[training]"),
    ):
        assert old in text
        text = text.replace(old, new)
    (own / "universe.toml").write_text(text)
    (own / "bars").mkdir()
    for ticker in TICKERS:
        bars = pl.DataFrame({name: values for name, values in getattr(stocks, ticker).items() if name != "adj_close"})
        bars.filter(pl.col("date") >= FIRST_BAR).write_csv(own / "bars" / f"{ticker}.csv")
    for path in (own, *own.rglob("*")):
        os.chown(path, USER, USER)
    for parent in (own, *own.parents):
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    made = Stack(engine, tmp_path_factory.mktemp("source"), port)
    made.install(LDTM_FOLDER=str(own))
    made.remove()
    made.build()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def running(stack: Stack) -> Stack:
    stack.up()
    return stack


def rows(stack: Stack, session: str) -> list[str]:
    statement = f"select ticker, kind from {SCHEMA}.snapshot where run_date = '{session}' order by ticker"
    return stack.sql(statement).splitlines()


def held_slots(stack: Stack) -> int:
    """Pool slots, and leases of the CPU or a GPU."""
    slots = stack.sql(f"select count(*) from {SCHEMA}_dagster.pending_steps where assigned_timestamp is not null")
    leases = stack.sql("select count(*) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock'")
    return int(slots) + int(leases)


def all_slots_are_free(stack: Stack) -> None:
    stack.eventually(lambda: held_slots(stack) == 0, "no slot is held", 60)


def training(trained_on: str) -> dict[str, Any]:
    return {"retraining": {"config": {"trained_on": trained_on, "device": "cpu"}}}


def started_training(stack: Stack) -> str:
    """The id of a training whose step has begun in its container."""
    run = stack.launch("retraining_job", TICKERS, training(next(OTHER_DAYS)))
    stack.run_container(run)
    stack.eventually(lambda: any(e["eventType"] == "STEP_START" for e in stack.events(run)), "the step begins", 120)
    return run


def test_the_image_holds_no_tools_no_caches_and_no_secrets(stack: Stack) -> None:
    image = stack.inspect("ldtm:test")["Config"]
    assert image["User"] == f"{USER}:{USER}"
    assert image["Labels"]["org.opencontainers.image.revision"] == "0123abc"
    assert image["Labels"]["org.opencontainers.image.version"]
    assert stack.setting("LDTM_WRITER_PASSWORD") not in str(image)

    def in_image(script: str, expect: int | None = 0) -> str:
        return stack.engine.docker("run", "--rm", "--network", "none", "ldtm:test", "sh", "-c", script, expect=expect)

    tools = (
        "for name in gcc cc make git; do command -v $name; done; ls -d /source /tmp/* /root/.cache 2>/dev/null; true"
    )
    assert in_image(tools) == ""
    for path in ("/opt/ldtm/x", "/etc/x"):
        assert "Permission denied" in in_image(f"touch {path}", expect=1)
    assert set(in_image("ls /ldtm").split()) == {"data", "demo.toml", "universe.toml"}


def test_the_image_keeps_the_torch_of_its_base(stack: Stack) -> None:
    asked = "import torch; print(torch.__file__)"
    path = stack.engine.docker("run", "--rm", "--network", "none", "ldtm:test", "python", "-c", asked)
    assert path.startswith("/usr/local/lib/python3.11/dist-packages/torch/")


def test_up_gives_a_working_system_from_nothing(running: Stack) -> None:
    for service in ("code", "webserver", "daemon", "dashboard"):
        found = running.inspect(running.container(service))
        assert found["Config"]["User"] == f"{USER}:{USER}"
        assert running.setting("LDTM_OWNER_PASSWORD") not in str(found["Config"]["Env"]), "only the migration has it"
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
    for service, port in (("webserver", "3000/tcp"), ("dashboard", "8501/tcp")):
        bound = running.inspect(running.container(service))["NetworkSettings"]["Ports"][port]
        assert [place["HostIp"] for place in bound] == ["127.0.0.1"]
    reads = str(running.inspect(running.container("dashboard"))["Config"]["Env"])
    assert "ldtm_reader" in reads
    assert "ldtm_writer" not in reads, "the dashboard has the reader's login alone"
    assert "ldtm_writer" in running.ldtm("db", "url")


def test_every_run_is_a_container_and_its_rows_are_on_record(running: Stack) -> None:
    run = running.launch("price_history_job", TICKERS)
    assert running.end_of(run) == "SUCCESS"
    found = running.inspect(running.run_container(run))
    assert found["Config"]["Image"] == "ldtm:test"
    assert found["Config"]["User"] == f"{USER}:{USER}"
    assert found["HostConfig"]["Memory"] == 4096 * 2**20
    assert "/var/run/docker.sock" not in [mount["Destination"] for mount in found["Mounts"]]
    assert not found["HostConfig"]["DeviceRequests"]
    assert running.end_of(running.launch("retraining_job", TICKERS, training(TRAINED_ON))) == "SUCCESS"
    assert int(running.sql(f"select count(*) from {SCHEMA}.checkpoint")) == len(TICKERS)
    partitions = [f"{SESSION}|{ticker}" for ticker in TICKERS]
    assert running.end_of(running.launch("daily_job", partitions, SIMULATED)) == "SUCCESS"
    assert rows(running, SESSION) == [f"{ticker}|simulated" for ticker in TICKERS]
    all_slots_are_free(running)


def test_the_writer_cannot_alter_the_record(running: Stack) -> None:
    for statement in (
        f"update {SCHEMA}.snapshot set next_day_pred = 1",
        f"delete from {SCHEMA}.snapshot",
        f"drop table {SCHEMA}.snapshot",
        f"alter table {SCHEMA}.snapshot disable trigger all",
        "create schema other",
    ):
        refused = running.sql(statement, role="ldtm_writer", expect=None)
        assert "permission denied" in refused or "must be owner" in refused, (statement, refused)


def test_a_killed_training_fails_frees_its_slot_and_can_be_repeated(running: Stack) -> None:
    run = started_training(running)
    assert held_slots(running) > 0
    running.engine.docker("kill", running.run_container(run))
    assert running.end_of(run, SECONDS_UNTIL_FAILED) == "FAILURE"
    all_slots_are_free(running)
    again = running.launch("retraining_job", TICKERS, training(next(OTHER_DAYS)))
    assert running.end_of(again) == "SUCCESS"


def test_a_run_that_is_terminated_in_the_ui_is_cancelled(running: Stack) -> None:
    run = started_training(running)
    running.ui.ask("mutation End($id: String!) { terminateRun(runId: $id) { __typename } }", id=run)
    assert running.end_of(run, 90) == "CANCELED"
    all_slots_are_free(running)


def test_runs_go_on_while_daemon_and_code_server_restart(running: Stack) -> None:
    run = started_training(running)
    for service in ("daemon", "code"):
        running.engine.docker("kill", running.container(service))
        running.engine.docker("start", running.container(service))
    assert running.end_of(run) == "SUCCESS"
    running.wait_until_healthy("daemon", "code")
    partitions = [f"{NEXT_SESSION}|{ticker}" for ticker in TICKERS]
    assert running.end_of(running.launch("daily_job", partitions, SIMULATED)) == "SUCCESS"
    assert rows(running, NEXT_SESSION) == [f"{ticker}|simulated" for ticker in TICKERS]


def test_a_command_in_a_container_of_its_own_is_watched_like_a_run(running: Stack) -> None:
    words = ("ldtm", "train", "--as-of", next(OTHER_DAYS))
    running.compose("run", "-d", "--name", "command", *words)
    newest = f"select run_id from {SCHEMA}_dagster.runs where status = 'STARTED' order by id desc limit 1"
    running.eventually(lambda: running.sql(newest) != "", "the command has a run", 120)
    run = running.sql(newest)
    time.sleep(35)
    assert running.status(run) in ("STARTED", "SUCCESS"), "run monitoring leaves it alone"
    running.engine.docker("kill", "command", expect=None)
    assert running.end_of(run, SECONDS_UNTIL_FAILED) in ("FAILURE", "SUCCESS")
    all_slots_are_free(running)


def test_two_containers_on_the_network_of_their_host_have_identities_of_their_own(stack: Stack) -> None:
    asked = "from ldtm_assets.run_tags import host_identity, container_id; print(host_identity()[2], container_id())"
    created = [
        stack.engine.docker("create", "--network", "host", "ldtm:test", "python", "-c", asked).strip() for _ in range(2)
    ]
    first, second, again = (
        stack.engine.docker("start", "--attach", container).split() for container in (*created, created[0])
    )
    assert [first[1], second[1]] == created
    assert first[0] != second[0]
    assert first == again, "a container keeps its identity when it is restarted"


def test_after_a_power_cut_no_run_stays_started_and_nothing_is_lost(running: Stack) -> None:
    before = running.sql(f"select count(*) from {SCHEMA}.snapshot")
    run = started_training(running)
    running.engine.kill_as_a_power_cut()
    running.engine.start()
    running.wait_until_healthy("webserver", "daemon", "code")
    assert running.end_of(run, SECONDS_UNTIL_FAILED) == "FAILURE"
    all_slots_are_free(running)
    assert running.sql(f"select count(*) from {SCHEMA}.snapshot") == before
    partitions = [f"{LAST_SESSION}|{ticker}" for ticker in TICKERS]
    assert running.end_of(running.launch("daily_job", partitions, SIMULATED)) == "SUCCESS"


def test_a_database_that_starts_late_is_waited_for(running: Stack) -> None:
    running.compose("stop", timeout=200)
    for service in ("code", "webserver", "daemon"):
        running.engine.docker("start", running.container(service))
    time.sleep(5)
    assert "waiting: PostgreSQL" in running.engine.docker("logs", "--tail", "3", running.container("code"))
    running.engine.docker("start", running.container("postgres"))
    running.wait_until_healthy("webserver", "daemon", "code")


def test_down_and_up_lose_nothing(running: Stack) -> None:
    counted = f"select count(*), max(recorded_at) from {SCHEMA}.snapshot"
    before = running.sql(counted), running.sql(f"select count(*) from {SCHEMA}_dagster.runs")
    running.compose("down", timeout=200)
    running.up()
    assert before == (running.sql(counted), running.sql(f"select count(*) from {SCHEMA}_dagster.runs"))
    assert "intact" in running.ldtm("audit", "verify")


def test_a_backup_restores_the_record_on_a_machine_with_nothing(running: Stack) -> None:
    counted = f"select count(*), max(recorded_at) from {SCHEMA}.snapshot"
    before = running.sql(counted)
    running.compose("run", "--rm", "-T", "migrate", "ldtm", "backup", "/ldtm/record.tar")
    running.compose("down", "--volumes", timeout=200)
    shutil.rmtree(Path(running.setting("LDTM_FOLDER")) / ".ldtm")
    running.compose("run", "--rm", "-T", "migrate", "ldtm", "restore", "/ldtm/record.tar", timeout=300)
    running.up()
    assert running.sql(counted) == before
    assert "intact" in running.ldtm("audit", "verify")
    assert "equal" in running.ldtm("replay", TICKERS[0], SESSION)


def test_the_proxy_asks_for_a_login(running: Stack) -> None:
    secrets = running.folder / "docker/nginx/secrets"
    secrets.mkdir()
    made = (
        "htpasswd -bBc /secrets/users ann right && openssl req -x509 -newkey rsa:2048 -nodes -days 2 "
        "-subj /CN=localhost -keyout /secrets/key.pem -out /secrets/cert.pem && chmod 644 /secrets/*"
    )
    running.engine.docker("run", "--rm", "--network", "none", "-v", f"{secrets}:/secrets", BASE_IMAGE, "sh", "-c", made)
    running.compose("--profile", "login", "up", "-d", "--no-build", "proxy", LDTM_PROXY_ADDRESS="127.0.0.1:18443")
    asked = ("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}")

    def answer(*options: str) -> str:
        command = [*asked, *options, "https://127.0.0.1:18443/server_info"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    running.eventually(lambda: answer() == "401", "the proxy asks for a login", 60)
    assert answer("-u", "ann:wrong") == "401"
    assert answer("-u", "ann:right") == "200"
    assert answer("-u", "ann:right", "-H", "Origin: https://elsewhere.example") == "403"
    assert answer("-u", "ann:right", "-H", "Origin: https://127.0.0.1:18443") == "200"
