"""Whoever is retired for a record is the one whose record it is, whatever else happens at the same time."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date

import pytest

from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.errors import RegistryConflict
from ldtm_lib.ledger.monitoring import MonitoringReport, degraded_checkpoints, monitor_active_models
from ldtm_lib.registry.lifecycle import retire
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import DegradationPolicy, RegistryConfig, Settings
from tests.integration import gate_fixtures
from tests.integration.ledger.live_record import TRAINED_ON, put_live
from tests.integration.ledger_rows import LedgerRows

LATER = date(2012, 6, 29)
WAITS = "select 1 from pg_sleep(0.02), pg_locks where locktype = any(%s) and not granted"
ADVISORY, ROW = "advisory", "transactionid"


@pytest.fixture
def degraded(conn: Connection, calendar: Calendar, ledger_rows: LedgerRows) -> int:
    """AAPL's active model, wrong forty times out of forty."""
    checkpoint_id = ledger_rows.promoted("AAPL", TRAINED_ON)
    put_live(conn, calendar, "AAPL", checkpoint_id, [False] * 40)
    conn.commit()
    conn.execute("alter table snapshot enable trigger user")
    conn.commit()
    return checkpoint_id


def watched(database: Database, settings: Settings, policy: DegradationPolicy = "retire") -> MonitoringReport:
    strict = settings.replace(registry=RegistryConfig(degradation_policy=policy))
    with database.transaction() as conn:
        return monitor_active_models(conn, strict)


@contextmanager
def meanwhile(
    database: Database, work: Callable[[], MonitoringReport], lock: str
) -> Generator[Callable[[], MonitoringReport]]:
    """Start work in a thread and go on once it waits for a lock, or is done; the result is asked for afterwards."""
    with ThreadPoolExecutor(1) as thread, database.connect() as looking:
        looking.autocommit = True
        started = thread.submit(work)
        for _ in range(500):
            if started.done() or looking.execute(WAITS, ([lock],)).fetchone():
                break
        yield started.result


def statuses(conn: Connection) -> list[tuple[object, ...]]:
    return conn.execute("select version, status from checkpoint order by checkpoint_id").fetchall()


def test_a_model_that_is_promoted_while_its_predecessor_is_watched_is_not_retired(
    database: Database, conn: Connection, settings: Settings, ledger_rows: LedgerRows, degraded: int
) -> None:
    conn.execute(query("registry.lock_promotions"))
    ledger_rows.promoted("AAPL", LATER)
    with meanwhile(database, lambda: watched(database, settings), ADVISORY) as result:
        conn.commit()
        watch = result()
    assert statuses(conn) == [(f"v1.{TRAINED_ON}", "retired"), (f"v1.{LATER}", "active")]
    assert (watch.retired, watch.alerts) == ((), [])
    assert [(r.version, r.num_filled) for r in watch.records] == [(f"v1.{LATER}", 0)], "who is active by then"
    assert conn.execute("select count(*) from lifecycle_action").fetchone() == (0,)


def test_of_two_watches_at_once_one_retires_and_the_other_finds_nobody(
    database: Database, conn: Connection, settings: Settings, degraded: int
) -> None:
    first = monitor_active_models(conn, settings.replace(registry=RegistryConfig(degradation_policy="retire")))
    with meanwhile(database, lambda: watched(database, settings), ADVISORY) as result:
        conn.commit()
        second = result()
    assert [record.checkpoint_id for record in first.retired] == [degraded]
    assert (second.records, second.retired) == ((), ())
    assert conn.execute("select action, checkpoint_id, requested_by from lifecycle_action").fetchall() == [
        ("retirement", degraded, "policy registry.degradation_policy")
    ]


def test_a_model_that_somebody_takes_out_without_waiting_is_left_and_the_daily_run_goes_on(
    database: Database, conn: Connection, settings: Settings, degraded: int
) -> None:
    gate_fixtures.retire(conn, "AAPL")
    with meanwhile(database, lambda: watched(database, settings), ROW) as result:
        conn.commit()
        watch = result()
    assert [record.is_degraded for record in watch.records] == [True]
    assert watch.retired == ()
    assert conn.execute("select requested_by from lifecycle_action").fetchall() == [("ada",)]


def test_where_models_are_kept_a_watch_waits_for_nobody(
    database: Database, conn: Connection, settings: Settings, degraded: int
) -> None:
    conn.execute(query("registry.lock_promotions"))
    watch = watched(database, settings, "keep")
    assert [record.checkpoint_id for record in watch.degraded] == [degraded]
    assert watch.retired == ()


def test_an_action_that_retires_one_checkpoint_takes_out_no_other_one(
    conn: Connection, ledger_rows: LedgerRows, degraded: int
) -> None:
    ledger_rows.promoted("AAPL", LATER)
    with pytest.raises(
        RegistryConflict,
        match=r"AAPL v1.2011-12-30 is not active any more and nothing was retired; `ldtm registry history AAPL` shows",
    ):
        retire(conn, "AAPL", requested_by="ada", why="it is worse", checkpoint_id=degraded)
    assert statuses(conn) == [(f"v1.{TRAINED_ON}", "retired"), (f"v1.{LATER}", "active")]


def test_the_gate_is_given_the_checkpoints_of_degraded_models_alone(
    conn: Connection, settings: Settings, calendar: Calendar, ledger_rows: LedgerRows, degraded: int
) -> None:
    fine = ledger_rows.promoted("MSFT", TRAINED_ON)
    put_live(conn, calendar, "MSFT", fine, [True] * 40)
    assert degraded_checkpoints(conn, settings) == {degraded}
    never = settings.replace(registry=RegistryConfig(degradation_significance=1e-30))
    assert degraded_checkpoints(conn, never) == set()
