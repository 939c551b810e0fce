"""The right to train on one slot of one GPU, held as long as its process lives.

A lease is a session-level advisory lock on a connection of its own: no two processes can hold the same one, and the
lease of a process that is killed is released at once, because the connection ends with the process.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import psycopg

from ldtm_lib.database.connection import Connection, Database, address
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable, LdtmError
from ldtm_lib.gpu.devices import Gpu, GpuInventory, ReadGpus
from ldtm_lib.gpu.locks import MOST_SLOTS, grant_key, occupancies, settled_key, slot_key
from ldtm_lib.gpu.slots import Occupancy
from ldtm_lib.settings import GpuConfig
from ldtm_lib.wording import counted

OnWait = Callable[[str], None]
INTERVAL_SECONDS = 2.0
SECONDS_BETWEEN_CHECKS = 5.0
CLIENT_KEEPALIVES = "keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=60000"
"""Settings by which the client notices within a minute that the server's machine is gone; ignored on a Unix socket."""


class NoSlotInTime(LdtmError):
    """No slot became free within the caller's timeout."""


class LeaseLost(LdtmError):
    """The connection that held a lease is gone, and another process may have the slot by now."""


class Lease:
    """A slot that is held; as a context manager it is released at the end."""

    def __init__(self, conn: Connection, *, place: str, slot: int, gpu: Gpu | None, memory_mib: int = 0) -> None:
        self.gpu = gpu
        """The GPU as it was when the slot was granted; None for the CPU."""
        self.memory_mib = memory_mib
        """Memory of the GPU that this job may take, in MiB."""
        self.slot = slot
        self._conn, self._place, self._is_settled = conn, place, False

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def __str__(self) -> str:
        where = f"GPU {self.gpu.index} ({self.gpu.name})" if self.gpu else f"the CPU of {self._place}"
        return f"slot {self.slot} of {where}"

    def release(self) -> None:
        """Release the slot. Calling again does nothing."""
        self._conn.close()

    def require_held(self) -> None:
        """Raise LeaseLost if this process no longer holds the slot. Takes one query."""
        with self._loss_as_lease_lost():
            if _is_true(self._conn, query("gpu.is_held_here"), slot_key(self._place, self.slot)):
                return
        raise self._lost("the server no longer has its lock; a connection pooler must use session pooling")

    def settle(self) -> None:
        """Mark this job's memory as allocated: from now on the free memory that other jobs measure excludes it.

        Until then its budget is kept free for it. Calling again does nothing. Raises LeaseLost.
        """
        if self._is_settled:
            return
        with self._loss_as_lease_lost(), self._conn.transaction():
            self._conn.execute(query("gpu.lock"))  # no other job is between its reads of memory and of leases
            _is_true(self._conn, query("gpu.try_lock"), settled_key(self._place, self.slot))
        self._is_settled = True

    @contextmanager
    def _loss_as_lease_lost(self) -> Generator[None]:
        try:
            yield
        except psycopg.OperationalError as error:
            raise self._lost(_in_one_line(error)) from error

    def _lost(self, reason: str) -> LeaseLost:
        return LeaseLost(
            f"the lease of {self} is lost ({reason}): another process may train there now, so this one stops; finished "
            "tickers are on record, materialize the others again"
        )


class LeaseWatch:
    """Checks a lease while its job trains; `look` is called after every epoch.

    The first call marks the job's memory as allocated for the other jobs: an epoch has run by then.
    """

    def __init__(self, lease: Lease, *, seconds_between_checks: float = SECONDS_BETWEEN_CHECKS) -> None:
        self._lease, self._seconds = lease, seconds_between_checks
        self._checked = time.monotonic()

    def look(self) -> None:
        """Raise LeaseLost when the lease is lost; the server is queried every few seconds."""
        self._lease.settle()
        if time.monotonic() - self._checked >= self._seconds:
            self._checked = time.monotonic()
            self._lease.require_held()


def acquire(
    database: Database,
    config: GpuConfig,
    read_gpus: ReadGpus,
    *,
    only: str | None = None,
    wanted_mib: int | None = None,
    on_wait: OnWait | None = None,
    interval_seconds: float = INTERVAL_SECONDS,
    timeout_seconds: float | None = None,
) -> Lease:
    """Take a slot on the GPU with the most memory to spare, or wait until a job fits next to the other tenants.

    A job fits if `mib_per_job` are to spare; with `wanted_mib` it gets more if there is more.

    Reading the memory, counting the leases and taking the lock are serialized: no two processes decide at once. `only`
    is the UUID of the only acceptable GPU. `on_wait` is called once with the reason for waiting. Raises NoSlotInTime,
    DatabaseUnavailable, and ConfigurationError if no GPU, or not the one in `only`, can be read.
    """

    def attempt(conn: Connection) -> Lease | str:
        with conn.transaction():
            conn.execute(query("gpu.lock"))
            return _take_gpu(conn, read_gpus(), only, wanted_mib, config)

    return _wait(database, attempt, on_wait, interval_seconds, timeout_seconds)


def acquire_cpu(
    database: Database,
    *,
    host: str,
    on_wait: OnWait | None = None,
    interval_seconds: float = INTERVAL_SECONDS,
    timeout_seconds: float | None = None,
) -> Lease:
    """Take the CPU of a host, which one job at a time can lease, or wait for it; raises as `acquire` does."""
    return _wait(database, lambda conn: _take_cpu(conn, host), on_wait, interval_seconds, timeout_seconds)


def _wait(
    database: Database,
    attempt: Callable[[Connection], Lease | str],
    on_wait: OnWait | None,
    interval_seconds: float,
    timeout_seconds: float | None,
) -> Lease:
    """Attempt until there is a lease, on one connection, which then belongs to the lease."""
    began = time.monotonic()
    conn = _open_session(database)
    try:
        while isinstance(result := attempt(conn), str):
            if on_wait is not None:
                on_wait(result)
                on_wait = None
            left = None if timeout_seconds is None else timeout_seconds - (time.monotonic() - began)
            if left is not None and left <= 0:
                raise NoSlotInTime(f"no slot was free in {timeout_seconds:g} s: {result}; wait longer, or free memory")
            time.sleep(interval_seconds if left is None else min(interval_seconds, left))
        return result
    except psycopg.OperationalError as error:
        conn.close()
        raise DatabaseUnavailable(
            f"PostgreSQL at {address(database.url)} went away during the wait for a slot ({_in_one_line(error)}); "
            "nothing was trained, start again when the server answers"
        ) from error
    except BaseException:
        conn.close()
        raise


def _take_cpu(conn: Connection, host: str) -> Lease | str:
    if _is_true(conn, query("gpu.try_lock"), slot_key(host, 0)):
        return Lease(conn, place=host, slot=0, gpu=None)
    return f"another training uses the CPU of {host}"


def _take_gpu(
    conn: Connection, inventory: GpuInventory, only: str | None, wanted_mib: int | None, config: GpuConfig
) -> Lease | str:
    """A lease on the GPU with the most memory to spare, or the reason why there is none now."""
    known = occupancies(conn, inventory.gpus)
    eligible = [occupancy for occupancy in known if only in (None, occupancy.gpu.uuid)]
    if not eligible:
        raise ConfigurationError(
            f"{only or 'a GPU'} is required, but the driver shows none ({inventory.note}); give a container the driver "
            "capability `utility`, or train with the device cpu"
        )
    num_held = sum(len(occupancy.held) for occupancy in known)
    if num_held >= config.max_jobs:
        return f"{counted(num_held, 'job is', 'jobs are')} training, gpu.max_jobs allows {config.max_jobs}"
    for occupancy in sorted(eligible, key=lambda occupancy: -occupancy.expected_free_mib(config)):
        if not occupancy.has_free_slot(config):
            continue
        for slot in range(MOST_SLOTS):
            if slot not in occupancy.held and _is_true(conn, query("gpu.try_lock"), slot_key(occupancy.gpu.uuid, slot)):
                mib = occupancy.grant_mib(config, wanted_mib)
                conn.execute(query("gpu.try_grant"), {"key": grant_key(occupancy.gpu.uuid, slot), "mib": mib})
                return Lease(conn, place=occupancy.gpu.uuid, slot=slot, gpu=occupancy.gpu, memory_mib=mib)
    return "; ".join(_no_room_message(occupancy, config) for occupancy in eligible)


def _no_room_message(occupancy: Occupancy, config: GpuConfig) -> str:
    gpu, spare_mib = occupancy.gpu, max(0, occupancy.expected_free_mib(config) - config.reserve_mib)
    return (
        f"GPU {gpu.index} ({gpu.name}) has {spare_mib:,} MiB to spare, a job needs {config.mib_per_job:,} MiB "
        f"({gpu.free_mib:,} free, {config.reserve_mib:,} in reserve, {counted(len(occupancy.held), 'job')} of LDTM "
        "there)"
    )


def _open_session(database: Database) -> Connection:
    """An autocommit connection that stays open, whose ends each notice when the other one is gone."""
    conn = replace(database, url=_with_keepalives(database.url)).connect()
    conn.autocommit = True
    conn.execute(query("gpu.session_settings"))
    return conn


def _with_keepalives(url: str) -> str:
    """The URL with settings for keepalives; settings that it already has take precedence."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{CLIENT_KEEPALIVES}&{parts.query}" if parts.query else CLIENT_KEEPALIVES))


def _is_true(conn: Connection, statement: bytes, key: int) -> bool:
    row = conn.execute(statement, {"key": key}).fetchone()
    return row is not None and bool(row[0])


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
