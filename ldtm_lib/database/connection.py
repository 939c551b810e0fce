"""Connections to one schema of one PostgreSQL database, with the settings that results depend on."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable

Connection = psycopg.Connection[TupleRow]
CONNECT_TIMEOUT_SECONDS = 10
LOCK_TIMEOUT = "2min"
"""Longest time that a statement waits for a lock. The longest work under the lock of the chain, a fill of 300,000
actuals, takes 10 s, so four concurrent runs of Dagster wait 40 s for each other. A lock that is held for three times as
long is assumed to be stuck."""
PINNED = {
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "extra_float_digits": "1",
    "intervalstyle": "postgres",
    "lock_timeout": LOCK_TIMEOUT,
    "standard_conforming_strings": "on",
    "timezone": "UTC",
    "transform_null_equals": "off",
}
"""Settings that a server, database or role may set to other values, and that change the effect or result of a
statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A PostgreSQL URL and the schema in it that holds the tables."""

    url: str
    schema: str

    @property
    def pinned(self) -> Mapping[str, str]:
        """The settings of every connection: the schema as the search path, and PINNED."""
        return {"search_path": self.schema, **PINNED}

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of libpq for this database: those of the URL, with the pinned settings after its `options`.

        Raises ConfigurationError for a text that is not a URL, or that has a parameter that libpq does not know.
        """
        given = _parameters_of(self.url)
        pinned = " ".join(f"-c {name}={_escaped(value)}" for name, value in self.pinned.items())
        return {
            "connect_timeout": str(CONNECT_TIMEOUT_SECONDS),
            "application_name": "ldtm",
            **given,
            "options": f"{given.get('options', '')} {pinned}".strip(),
        }

    def connect(self) -> Connection:
        """Open a connection whose settings are the pinned ones.

        Raises DatabaseUnavailable, without the password, when the server does not answer or refuses, and
        ConfigurationError when a connection pooler does not pass the settings on.
        """
        try:
            conn = psycopg.connect("", **self.parameters, autocommit=True)  # pyright: ignore[reportArgumentType]
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(_no_answer(self.url, error)) from None
        try:
            self._check_settings(conn)
            conn.autocommit = False
        except BaseException:
            conn.close()
            raise
        return conn

    def _check_settings(self, conn: Connection) -> None:
        """Raise ConfigurationError if the connection has other settings than the requested ones."""
        try:
            found = conn.execute(query("database.settings"), {"names": [*self.pinned]}).fetchall()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(_no_answer(self.url, error)) from error
        lost = [(name, value) for name, value in found if value != self.pinned[name]]
        if not lost:
            return
        name, value = next((each for each in lost if each[0] == "search_path"), lost[0])
        raise ConfigurationError(
            f"PostgreSQL at {address(self.url)} did not apply the settings of the connection: {name} is {value}, not "
            f"{self.pinned[name]}, so statements could use other tables or return other results. A connection pooler "
            "in between drops the startup parameter `options`; name the server itself in LDTM_DATABASE_URL, or "
            "configure the pooler as docs/operations.md says"
        )

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """One transaction on a new connection: committed at the end, rolled back on an error.

        Raises DatabaseUnavailable when the connection is lost during the transaction, or another connection holds a
        lock for longer than LOCK_TIMEOUT; the transaction is then rolled back.
        """
        with self.connect() as conn:
            try:
                with conn.transaction():
                    yield conn
            except psycopg.errors.LockNotAvailable as error:
                raise DatabaseUnavailable(self._locked(conn)) from error
            except psycopg.OperationalError as error:
                if not conn.closed and not conn.broken:
                    raise
                raise DatabaseUnavailable(_no_answer(self.url, error)) from error

    def _locked(self, waiting: Connection) -> str:
        """The message for a lock that was not released in time: the lock, its holder, and the remedy."""
        with self.connect() as conn:
            own = [waiting.info.backend_pid, conn.info.backend_pid]
            row = conn.execute(query("database.lock_holders"), {"own": own}).fetchone()
        limit = self.pinned["lock_timeout"]
        waited = f"PostgreSQL at {address(self.url)} did not grant a lock within {limit}; nothing was changed"
        if row is None:
            return f"{waited}. It has been released since: try again"
        lock, pid, application, role = row
        return (
            f"{waited}. Process {pid} (application {application}, role {role}) holds {lock}: end that program, or run "
            f"`select pg_terminate_backend({pid})` as an administrator, and try again"
        )

    def with_schema(self, schema: str) -> "Database":
        """The same database, another schema."""
        return replace(self, schema=schema)

    def sqlalchemy_url(self) -> str:
        """The URL for SQLAlchemy with the driver psycopg 2, which Dagster's storage needs, and the same parameters.

        User and password are in the part in which SQLAlchemy hides the password in messages. Sockets and several hosts
        are in the query.
        """
        rest = self.parameters
        user, password = rest.pop("user", ""), rest.pop("password", "")
        database = rest.pop("dbname", "")
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        place = ""
        if (host := rest.get("host", "")) and "," not in host and not host.startswith(("/", "@")):
            place = f"[{host}]" if ":" in host else host
            place += f":{rest.pop('port')}" if "port" in rest else ""
            del rest["host"]
        netloc = f"{login}@{place}" if login else place
        return f"postgresql+psycopg2://{netloc}/{quote(database, safe='')}?{urlencode(rest, quote_via=quote)}"


def address(url: str) -> str:
    """The target of a URL, without user and password: safe for logs and messages."""
    found = _parameters_of(url)
    host = found.get("host", "localhost")
    port = f":{found['port']}" if "port" in found else ""
    return f"{host}{port}/{found.get('dbname', '')}"


def masked_url(url: str) -> str:
    """A URL with *** instead of its passwords."""
    start, _, query_part = url.partition("?")
    scheme, _, rest = start.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    parts = [name + "=***" if _is_password(name) else part for part, name in _named_parts(query_part)]
    return f"{scheme}://{user}{colon and ':***'}{at}{place}" + (f"?{'&'.join(parts)}" if query_part else "")


def _named_parts(query_part: str) -> list[tuple[str, str]]:
    """The parts of a query, each with the name of its parameter as it is written."""
    return [(part, part.partition("=")[0]) for part in query_part.split("&")]


def _is_password(name: str) -> bool:
    return unquote(name) in ("password", "sslpassword", "oauth_client_secret")


def _no_answer(url: str, error: psycopg.OperationalError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    reason = " ".join(line for line in lines if not line.startswith("Is the server running"))
    password = conninfo_to_dict(url).get("password")
    if password:
        reason = reason.replace(str(password), "***")
    return (
        f"PostgreSQL at {address(url)} does not answer ({reason}); start the server (`ldtm up` starts the "
        "embedded one), or check LDTM_DATABASE_URL"
    )


def _parameters_of(url: str) -> dict[str, str]:
    """The parameters of libpq in a URL. Raises ConfigurationError, without showing the text, for any other text."""
    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "LDTM_DATABASE_URL is not a PostgreSQL URL, or has a parameter that PostgreSQL does not know; write "
            "postgresql://user:password@host:5432/database"
        ) from None


def _escaped(value: str) -> str:
    """A value inside of `options`, where a space would end it."""
    return value.replace("\\", r"\\").replace(" ", r"\ ")
