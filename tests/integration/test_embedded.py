"""The embedded PostgreSQL: attached to, outliving its starter, stopped, and started again after the worst."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from ldtm_lib.database import embedded

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
