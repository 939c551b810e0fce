"""The identity of a record, and the database that the folder of an installation belongs to.

Checkpoint files and published seals in the folder belong to one record. The file database.json in the folder stores
the identity of the record and, for messages, the address of the database; neither is secret.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError

FILE = "database.json"
EMBEDDED = "the embedded PostgreSQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDatabase:
    """The database that a folder belongs to."""

    installation_id: str
    address: str
    """Host, port and name, or EMBEDDED."""


def installation_id(conn: Connection) -> str | None:
    """The identity of the record in the schema of a connection; None where no schema has been applied."""
    if conn.execute(query("database.has_installation")).fetchone() != (True,):
        return None
    row = conn.execute(query("database.installation")).fetchone()
    return None if row is None else str(row[0])


def known_database(home: Path) -> KnownDatabase | None:
    """The database that a folder belongs to; None if there is none. Raises ConfigurationError for a damaged file."""
    path = home / FILE
    try:
        return KnownDatabase(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path}, which names the database of {home}, is damaged ({error}); restore it, or remove it once "
            "LDTM_DATABASE_URL names the database of the seals and checkpoints in that folder"
        ) from None


def remember_database(home: Path, known: KnownDatabase) -> None:
    """Store in a folder the database that it belongs to."""
    if known_database(home) != known:
        home.mkdir(parents=True, exist_ok=True)
        write_whole(home / FILE, json.dumps(asdict(known)).encode() + b"\n")


def require_known_database(conn: Connection, home: Path, *, address: str) -> None:
    """Raise ConfigurationError if a folder belongs to a database other than the connection's."""
    known = known_database(home)
    if known is not None and installation_id(conn) != known.installation_id:
        raise ConfigurationError(
            f"{home} holds seals and checkpoints of the database at {known.address}, and {address} holds another "
            "record. Correct LDTM_DATABASE_URL, or restore a dump of the record there; to begin a new record, move "
            f"{home} away or name other schemas under [database]"
        )


def require_embedded(home: Path) -> None:
    """Raise ConfigurationError if the embedded server is not the database that a folder belongs to.

    A folder with seals or checkpoints, but without an embedded server, belongs to a database elsewhere.
    """
    known = known_database(home)
    if known is not None and known.address != EMBEDDED:
        raise ConfigurationError(
            f"LDTM_DATABASE_URL is not set, and {home} holds seals and checkpoints of the database at {known.address}. "
            f"Set LDTM_DATABASE_URL to that database; to begin a new record on an embedded server, move {home} away"
        )
    has_server = (home / "postgres").exists()
    left = [name for name in ("seals.jsonl", "timestamps", "checkpoints") if _has_content(home / name)]
    if left and not has_server:
        raise ConfigurationError(
            f"LDTM_DATABASE_URL is not set, and {home} holds {' and '.join(left)} of a database that is missing. Set "
            f"LDTM_DATABASE_URL to that database, or restore the folder postgres in {home}; to begin a new record, "
            f"move {home} away"
        )


def _has_content(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()
