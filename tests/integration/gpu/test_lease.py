"""Leases of GPUs between real processes on real PostgreSQL: never shared, never lost unnoticed, free after a kill."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable
from ldtm_lib.gpu.devices import Gpu, GpuInventory, ReadGpus
from ldtm_lib.gpu.lease import Lease, LeaseLost, NoSlotInTime, acquire, acquire_cpu
from ldtm_lib.gpu.locks import occupancies_now, settled_key, slot_key
from ldtm_lib.settings import GpuConfig
from tests.integration.gpu.shared_card import CONFIG, NUM_PLACES, SharedCard
from tests.repository import REPOSITORY

SOON_SECONDS = 2.0
"""A process that is killed ends its connection within milliseconds; two seconds are a busy machine's."""


def reads(*free_mib: int) -> ReadGpus:
    gpus = tuple(
        Gpu(index=index, uuid=f"GPU-{index}", name="card", total_mib=80_000, free_mib=free)
        for index, free in enumerate(free_mib)
    )
    return lambda: GpuInventory(gpus=gpus, note=f"{len(gpus)} GPUs")


def at_once(database: Database, read: ReadGpus, config: GpuConfig = CONFIG, only: str | None = None) -> Lease:
    return acquire(database, config, read, only=only, timeout_seconds=0)


@pytest.fixture
def card(tmp_path: Path) -> SharedCard:
    return SharedCard(tmp_path)


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def job(database: Database, card: SharedCard, seconds: float, processes: ExitStack) -> "subprocess.Popen[str]":
    """A process that trains on the card; negative seconds are without end."""
    command = [sys.executable, "-m", "tests.integration.gpu.shared_card", database.url, str(card.folder), str(seconds)]
    process = processes.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY))
    processes.callback(process.kill)
    return process


def says(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def test_eight_processes_race_for_three_slots_and_no_two_share_one(
    database: Database, card: SharedCard, processes: ExitStack
) -> None:
    jobs = [job(database, card, 0.2, processes) for _ in range(8)]
    for process in jobs:
        says(process, "is here")
    card.is_open.touch()
    assert [process.wait(60) for process in jobs] == [0] * 8
    holders: set[int] = set()
    most, least_free = 0, 10**9
    lines = sorted(tuple(line.rsplit(" ", 2)) for line in card.log.read_text().splitlines())
    assert len(lines) == 3 * 8
    for moment_and_what, slot, free_mib in lines:
        what = moment_and_what.split(" ", 1)[1]
        least_free = min(least_free, int(free_mib))
        if what == "begins":
            assert int(slot) not in holders, "two processes hold one slot"
            holders.add(int(slot))
            most = max(most, len(holders))
        elif what == "ends":
            holders.remove(int(slot))
    assert most == NUM_PLACES
    assert least_free >= CONFIG.reserve_mib, "jobs took the memory that is reserved for others"


def test_a_killed_process_frees_its_slot_at_once(database: Database, card: SharedCard, processes: ExitStack) -> None:
    card.is_open.touch()
    jobs = [job(database, card, -1, processes) for _ in range(NUM_PLACES)]
    for process in jobs:
        says(process, "is here")
        says(process, "trains")
    with pytest.raises(NoSlotInTime, match="has 100 MiB to spare, a job needs 600 MiB"):
        at_once(database, card.read)
    killed_at = time.monotonic()
    jobs[1].send_signal(signal.SIGKILL)
    jobs[1].wait()
    with acquire(database, CONFIG, card.read, interval_seconds=0.005, timeout_seconds=SOON_SECONDS) as lease:
        seconds = time.monotonic() - killed_at
        assert lease.slot in range(NUM_PLACES)
    assert seconds < SOON_SECONDS
    print(f"a slot was free {seconds * 1000:.0f} ms after its process was killed")


def test_a_slot_whose_job_has_not_taken_its_memory_yet_leaves_no_room_for_another(database: Database) -> None:
    read = reads(2648)
    with at_once(database, read) as first:
        with pytest.raises(NoSlotInTime, match="has 0 MiB to spare, a job needs 600 MiB"):
            at_once(database, read)
        first.settle()
        first.settle()
        at_once(database, read).release()
    at_once(database, read).release()


def test_a_job_does_not_settle_between_another_ones_reading_of_the_memory_and_of_the_leases(database: Database) -> None:
    with at_once(database, reads(2648)) as first:
        settles = threading.Thread(target=first.settle)

        def read_before_it_took_its_memory() -> GpuInventory:
            settles.start()
            settles.join(0.3)
            assert settles.is_alive()
            return reads(2648)()

        with pytest.raises(NoSlotInTime):
            at_once(database, read_before_it_took_its_memory)
        settles.join(10)
        assert occupancies_now(database, reads(2048)())[0].settled == {0}


def test_the_gpu_with_the_most_to_spare_is_chosen_what_is_promised_there_counted(database: Database) -> None:
    read = reads(10_000, 10_500)
    with at_once(database, read) as first, at_once(database, read) as second, at_once(database, read) as third:
        assert [lease.gpu.index for lease in (first, second, third) if lease.gpu] == [1, 0, 1]
        assert (first.slot, second.slot, third.slot) == (0, 0, 1)


def test_a_job_that_wants_one_gpu_gets_no_other(database: Database) -> None:
    read = reads(10_000, 2000)
    with pytest.raises(NoSlotInTime, match=r"GPU 1 \(card\) has 0 MiB to spare"):
        at_once(database, read, only="GPU-1")
    with at_once(database, read, only="GPU-0") as lease:
        assert lease.gpu is not None
        assert lease.gpu.uuid == "GPU-0"
    with pytest.raises(ConfigurationError, match="GPU-7 is required, but the driver shows none"):
        at_once(database, read, only="GPU-7")
    with pytest.raises(ConfigurationError, match=r"a GPU is required, .* train with the device cpu"):
        at_once(database, reads())


def test_the_cap_holds_over_all_gpus_and_against_jobs_of_a_higher_cap(database: Database) -> None:
    read, capped = reads(50_000, 50_000), CONFIG.replace(max_jobs=2)
    with at_once(database, read), at_once(database, read), at_once(database, read):
        with pytest.raises(NoSlotInTime, match=r"3 jobs are training, gpu\.max_jobs allows 2"):
            at_once(database, read, capped)
        held = [sorted(occupancy.held) for occupancy in occupancies_now(database, read())]
        assert held == [[0, 1], [0]]


def test_who_waits_is_told_why_once_and_goes_on_when_there_is_room(database: Database) -> None:
    reasons: list[str] = []
    waiting = threading.Event()
    free = [2000]

    def on_wait(reason: str) -> None:
        reasons.append(reason)
        waiting.set()

    def tenant_leaves() -> None:
        assert waiting.wait(10)
        time.sleep(0.1)
        free[0] = 9000

    tenant = threading.Thread(target=tenant_leaves)
    tenant.start()
    with acquire(database, CONFIG, lambda: reads(free[0])(), on_wait=on_wait, interval_seconds=0.01) as lease:
        assert lease.slot == 0
    tenant.join()
    assert reasons == [
        "GPU 0 (card) has 0 MiB to spare, a job needs 600 MiB (2,000 free, 2,048 in reserve, 0 jobs of LDTM there)"
    ]


def test_one_job_at_a_time_has_the_cpu_of_a_host(database: Database) -> None:
    with acquire_cpu(database, host="here") as lease:
        assert (lease.gpu, str(lease)) == (None, "slot 0 of the CPU of here")
        lease.require_held()
        with pytest.raises(NoSlotInTime, match="another training uses the CPU of here"):
            acquire_cpu(database, host="here", timeout_seconds=0.05, interval_seconds=0.01)
        acquire_cpu(database, host="elsewhere", timeout_seconds=0).release()
    acquire_cpu(database, host="here", timeout_seconds=0).release()


def test_a_lease_whose_session_was_ended_is_lost(database: Database) -> None:
    lease = at_once(database, reads(10_000))
    lease.require_held()
    with psycopg.connect(database.url, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'ldtm gpu lease' and datname = current_database()"
        )
    with pytest.raises(LeaseLost, match=r"the lease of slot 0 of GPU 0 \(card\) is lost \(terminating connection"):
        lease.require_held()
    with pytest.raises(LeaseLost):
        lease.settle()


def test_a_lock_that_is_gone_though_the_session_lives_is_a_lost_lease(database: Database) -> None:
    lease = at_once(database, reads(10_000))
    lease._conn.execute("select pg_advisory_unlock_all()")  # what a pooler does between transactions
    with pytest.raises(LeaseLost, match="the server no longer has its lock"):
        lease.require_held()
    lease.release()


def test_a_server_that_restarts_loses_the_leases_and_gives_them_anew(home: Path) -> None:
    database = Database(url=embedded.start(home), schema="ldtm")
    lease = at_once(database, reads(10_000))
    embedded.stop(home)
    with pytest.raises(LeaseLost, match="another process may train there now"):
        lease.require_held()
    with pytest.raises(DatabaseUnavailable):
        at_once(database, reads(10_000))
    embedded.start(home)
    with at_once(database, reads(10_000)) as anew:
        anew.require_held()
        with pytest.raises(LeaseLost):
            lease.require_held()


def test_a_server_that_goes_away_while_one_waits_is_reported_as_that(database: Database) -> None:
    def ends_all_sessions(_reason: str) -> None:
        with psycopg.connect(database.url, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ldtm gpu lease'"
                " and datname = current_database()"
            )

    with pytest.raises(DatabaseUnavailable, match="went away during the wait for a slot"):
        acquire(database, CONFIG, reads(0), on_wait=ends_all_sessions, interval_seconds=0.01, timeout_seconds=10)


def test_a_failed_reading_leaves_nothing_locked(database: Database) -> None:
    def fails() -> GpuInventory:
        raise ConfigurationError("the reading failed")

    with pytest.raises(ConfigurationError, match="the reading failed"):
        acquire(database, CONFIG, fails)
    at_once(database, reads(10_000)).release()


def test_keys_are_the_same_on_every_machine_and_differ_by_place_and_slot() -> None:
    assert slot_key("GPU-8f3c1b1e", 0) == 3486612025485436418
    keys = [key(place, slot) for key in (slot_key, settled_key) for place in ("GPU-1", "GPU-11") for slot in range(64)]
    assert len(set(keys)) == 256
    assert all(-(2**63) <= key < 2**63 for key in keys)
