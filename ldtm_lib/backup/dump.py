"""The dump of the database: pg_dump streamed into an archive, and its SQL executed in one transaction of a restore.

pg_restore turns the dump into SQL, and this process executes it. The schemas are therefore replaced in one transaction,
errors are those of the server, and SQL for a newer server than the target is left out.
"""

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ldtm_lib.backup.postgresql_programs import PostgresqlPrograms
from ldtm_lib.database.connection import Connection
from ldtm_lib.errors import BackupFailed, ConfigurationError, RestoreRefused

BLOCK_BYTES = 1 << 18
GZIP_LEVEL = 3
"""Every build of PostgreSQL reads gzip, and the embedded one only gzip; docs/experiments.md compares levels."""
NO_ROLES = ("--no-owner", "--no-privileges", "--no-tablespaces")
COPY = re.compile(rb"COPY .+ FROM stdin;\n")
END_OF_COPY = b"\\.\n"
RESTRICT = re.compile(rb"^\\(?:un)?restrict \w+\n", re.MULTILINE)
"""Commands for psql, which guard its own commands; the server does not know them."""
SERVER_SETTINGS = {b"SET transaction_timeout = 0;\n": 17}
"""Settings in the SQL of pg_restore, with the major version of PostgreSQL that introduced each."""
PUBLIC_RIGHT = re.compile(rb"^(?:GRANT|REVOKE) [^;\n]+ (?:TO|FROM) PUBLIC;$", re.MULTILINE)
WRITER = re.compile(rb"^GRANT [^;\n]*INSERT[^;\n]* ON TABLE [^;\n]+\.snapshot TO ([^;\n]+);$", re.MULTILINE)
Blocks = Callable[[], Iterable[bytes]]
"""Returns the dump from its beginning."""


def dumped(
    url: str, schemas: Sequence[str], *, snapshot: str, programs: PostgresqlPrograms, environ: Mapping[str, str]
) -> Iterator[bytes]:
    """The dump of some schemas as of an exported snapshot, block by block.

    The password is in the environment of pg_dump alone. Raises BackupFailed with the message of pg_dump.
    """
    parameters = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    password = parameters.pop("password", None)
    if "sslpassword" in parameters:
        raise ConfigurationError(
            "LDTM_DATABASE_URL has sslpassword, which pg_dump would show in its command line; use a key without one"
        )
    command = [
        *(str(programs.pg_dump), "--format=custom", f"--compress={GZIP_LEVEL}", "--no-sync", "--no-password"),
        *("--encoding=UTF8", "--strict-names", f"--snapshot={snapshot}"),
        *(f"--schema={_exact(schema)}" for schema in schemas),
        f"--dbname={make_conninfo('', **parameters)}",
    ]
    secret = {} if password is None else {"PGPASSWORD": password}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env={**environ, **secret}
        )
        with _ended(process):
            assert process.stdout is not None
            while block := process.stdout.read(BLOCK_BYTES):
                yield block
            status = process.wait()
        if status != 0:
            message = _message_of(errors)
            if password:
                message = message.replace(password, "***")
            remedy = "back up as the owner of the tables; " if "permission" in message or "privilege" in message else ""
            raise BackupFailed(f"pg_dump {programs.version} failed: {message}; {remedy}nothing was written")


def restore_dump(conn: Connection, dump: Blocks, programs: PostgresqlPrograms) -> list[str]:
    """Execute a dump in the transaction of a connection; returns the roles that could add to the record.

    Owners and rights of roles are left out, since they may not exist here; rights of PUBLIC are kept. The search path
    of the connection is empty afterwards. Raises RestoreRefused when pg_restore refuses the dump, and psycopg's errors.
    """
    rights = b"".join(_sql_of(dump, programs, "--section=pre-data", "--no-owner"))
    conn.execute(_for_server(conn, b"".join(_sql_of(dump, programs, "--section=pre-data", *NO_ROLES))))
    _restore_rows(conn, dump, programs)
    conn.execute(_for_server(conn, b"".join(_sql_of(dump, programs, "--section=post-data", *NO_ROLES))))
    for statement in PUBLIC_RIGHT.findall(rights):
        conn.execute(statement)
    return sorted({name.decode() for name in WRITER.findall(rights)} - {"PUBLIC"})


def _restore_rows(conn: Connection, dump: Blocks, programs: PostgresqlPrograms) -> None:
    """Copy the rows of every table; statements between them, such as those of sequences, keep their place."""
    lines = _Lines(_sql_of(dump, programs, "--section=data", *NO_ROLES))
    statements: list[bytes] = []
    for line in lines:
        if not COPY.fullmatch(line):
            statements.append(line)
            continue
        _execute(conn, statements)
        statements.clear()
        with conn.cursor().copy(line) as copy:
            for rows in lines.until(END_OF_COPY):
                copy.write(rows)
    _execute(conn, statements)


def _execute(conn: Connection, lines: Sequence[bytes]) -> None:
    text = _for_server(conn, b"".join(lines))
    if any(line.strip() and not line.startswith(b"--") for line in text.splitlines()):
        conn.execute(text)


class _Lines:
    """Lines of a stream, one at a time or many together."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            end = self._rest.find(b"\n")
            if end < 0:
                block = next(self._blocks, None)
                if block is None:
                    return
                self._rest += block
                continue
            line, self._rest = self._rest[: end + 1], self._rest[end + 1 :]
            yield line

    def until(self, last: bytes) -> Iterator[bytes]:
        """Whole lines up to a last one, which is left out; raises RestoreRefused if that is missing."""
        while True:
            text = self._rest
            if text.startswith(last):
                self._rest = text[len(last) :]
                return
            end = text.find(b"\n" + last)
            if end >= 0:
                yield text[: end + 1]
                self._rest = text[end + 1 + len(last) :]
                return
            whole = text.rfind(b"\n") + 1
            if whole:
                yield text[:whole]
            block = next(self._blocks, None)
            if block is None:
                raise RestoreRefused("the rows of a table in the dump have no end; nothing was changed")
            self._rest = text[whole:] + block


def _for_server(conn: Connection, text: bytes) -> bytes:
    """SQL without the commands of psql, and without settings that the server is too old for."""
    text = RESTRICT.sub(b"", text)
    for setting, since in SERVER_SETTINGS.items():
        if conn.info.server_version < since * 10_000:
            text = text.replace(setting, b"", 1)
    return text


def _sql_of(dump: Blocks, programs: PostgresqlPrograms, *options: str) -> Iterator[bytes]:
    """The SQL that pg_restore makes of a dump, block by block."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [programs.pg_restore, "--file=-", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
        with _ended(process):
            assert process.stdin is not None
            assert process.stdout is not None
            feeder = threading.Thread(target=_feed, args=(process.stdin, dump), daemon=True)
            feeder.start()
            while block := process.stdout.read(BLOCK_BYTES):
                yield block
            status = process.wait()
            feeder.join()
        if status != 0:
            raise RestoreRefused(
                f"pg_restore {programs.version} cannot read the dump: {_message_of(errors)}. Nothing was changed"
            )


def _feed(stdin: BinaryIO, dump: Blocks) -> None:
    """Write a dump to pg_restore, which reads no further than it needs."""
    try:
        with stdin:
            for block in dump():
                stdin.write(block)
    except (BrokenPipeError, RestoreRefused):
        return  # pg_restore reports a dump without an end


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Generator[None]:
    """Kill a process that still runs at the end, as after an error or an interrupt."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _message_of(errors: BinaryIO) -> str:
    errors.seek(0)
    text = errors.read(4096).decode(errors="replace")
    return " ".join(text.split()) or "it gives no reason"


def _exact(name: str) -> str:
    """A name as a pattern of pg_dump that matches this name alone."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
