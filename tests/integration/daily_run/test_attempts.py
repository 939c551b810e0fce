"""Attempts on record: counted before the work, whatever becomes of whoever began it."""

import subprocess
import sys
from datetime import date

from ldtm_lib.daily_run.attempts import begin_attempt, finish_attempt, newest_attempt_at
from ldtm_lib.database.connection import Connection, Database

FRIDAY = date(2026, 11, 20)
PARTITIONS = [(FRIDAY, "AAPL"), (FRIDAY, "IBM")]
RECORD = "select ticker, num_attempts, done_at is not null, reason from daily_attempt order by ticker"
BEGIN_AND_DIE = """
import os, signal, sys
from datetime import date
from ldtm_lib.database.connection import Database
from ldtm_lib.daily_run.attempts import begin_attempt
with Database(url=sys.argv[1], schema="ldtm").transaction() as conn:
    begin_attempt(conn, [(date(2026, 11, 20), "AAPL")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_attempt_is_counted_and_ends_with_what_was_done_and_why_the_rest_was_not(conn: Connection) -> None:
    begin_attempt(conn, PARTITIONS)
    assert conn.execute(RECORD).fetchall() == [("AAPL", 1, False, None), ("IBM", 1, False, None)]
    finish_attempt(conn, done=PARTITIONS[:1], failed={PARTITIONS[1]: "no bar of IBM"})
    assert conn.execute(RECORD).fetchall() == [("AAPL", 1, True, None), ("IBM", 1, False, "no bar of IBM")]


def test_the_next_attempt_is_open_again_and_keeps_when_the_first_one_was(conn: Connection) -> None:
    begin_attempt(conn, PARTITIONS)
    finish_attempt(conn, done=PARTITIONS[:1], failed={PARTITIONS[1]: "no bar of IBM"})
    conn.commit()
    begin_attempt(conn, PARTITIONS)
    assert conn.execute(RECORD).fetchall() == [("AAPL", 2, False, None), ("IBM", 2, False, None)]
    times = conn.execute("select min(last_attempt_at - first_attempt_at) > '0'::interval from daily_attempt")
    assert times.fetchone() == (True,)


def test_no_partitions_are_no_attempt(conn: Connection) -> None:
    assert newest_attempt_at(conn) is None
    begin_attempt(conn, [])
    finish_attempt(conn, done=[], failed={})
    assert newest_attempt_at(conn) is None


def test_a_process_that_is_killed_has_been_counted(database: Database, conn: Connection) -> None:
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", BEGIN_AND_DIE, database.url], check=False)
        assert killed.returncode == -9
    assert conn.execute(RECORD).fetchall() == [("AAPL", 2, False, None)]
    began_at = conn.execute("select last_attempt_at from daily_attempt").fetchone()
    assert began_at == (newest_attempt_at(conn),)
