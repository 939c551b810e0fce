"""Connections to one schema of one PostgreSQL database."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable

Connection = psycopg.Connection[TupleRow]
CONNECT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A PostgreSQL URL and the schema in it that holds the tables."""

    url: str
    schema: str

    def connect(self) -> Connection:
        """Open a connection whose search path is the schema and whose clock shows UTC.

        Raises DatabaseUnavailable, without the password, when the server does not answer or refuses.
        """
        try:
            return psycopg.connect(
                self.url,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                options=f"-c search_path={self.schema} -c timezone=UTC",
                application_name="ldtm",
            )
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(_no_answer(self.url, error)) from None
        except psycopg.ProgrammingError:
            raise ConfigurationError(
                "LDTM_DATABASE_URL is not a PostgreSQL URL; write postgresql://user:password@host:5432/database"
            ) from None

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """One transaction on a connection of its own: committed at the end, rolled back on an error.

        Raises DatabaseUnavailable when the server goes away in between; nothing of the transaction is kept then.
        """
        with self.connect() as conn:
            try:
                with conn.transaction():
                    yield conn
            except psycopg.OperationalError as error:
                if not conn.closed and not conn.broken:
                    raise
                raise DatabaseUnavailable(_no_answer(self.url, error)) from error

    def with_schema(self, schema: str) -> "Database":
        """The same database, another schema."""
        return replace(self, schema=schema)

    def sqlalchemy_url(self) -> str:
        """The URL for SQLAlchemy with the driver psycopg 2, which Dagster's storage needs, and the search path set."""
        parts = urlsplit(self.url)
        options = quote(f"-csearch_path={self.schema}", safe="")
        query = f"{parts.query}&options={options}" if parts.query else f"options={options}"
        return urlunsplit(("postgresql+psycopg2", parts.netloc, parts.path, query, ""))


def address(url: str) -> str:
    """Where a URL points to, without user and password: safe for logs and messages."""
    found = conninfo_to_dict(url)
    host = found.get("host", "localhost")
    port = f":{found['port']}" if "port" in found else ""
    return f"{host}{port}/{found.get('dbname', '')}"


def _no_answer(url: str, error: psycopg.OperationalError) -> str:
    reason = " ".join(str(error).split())
    password = conninfo_to_dict(url).get("password")
    if password:
        reason = reason.replace(str(password), "***")
    return (
        f"PostgreSQL at {address(url)} does not answer ({reason}); start it with `ldtm up`, or check LDTM_DATABASE_URL"
    )
