"""The manifest of an archive: its format, the state of the record in it, and the size and SHA-256 of every member."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from ldtm_lib.errors import RestoreRefused

FORMAT_VERSION = 1
MANIFEST, MANIFEST_SHA256 = "manifest.json", "manifest.json.sha256"
DUMP, DATABASE_JSON, SEALS = "database.dump", "home/database.json", "home/seals.jsonl"
CONFIGURATION = "configuration.toml"
TIMESTAMPS, CHECKPOINTS = "home/timestamps/", "home/checkpoints/"
NAMES = re.compile(
    rf"{re.escape(DUMP)}|{re.escape(DATABASE_JSON)}|{re.escape(SEALS)}|{re.escape(CONFIGURATION)}"
    rf"|{TIMESTAMPS}[0-9]+-[0-9a-f]{{16}}\.tsr|{CHECKPOINTS}(candidates/)?[A-Za-z0-9_%-][A-Za-z0-9._%-]*\.pt"
)
"""The members of an archive, apart from the manifest and its hash; no part of a name can be `..`."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Part):
    """A file in the archive."""

    name: str
    size: int
    sha256: str


class SealName(_Part):
    """A seal of the record, without the events that it covers."""

    seal_id: int
    session: date
    sha256: str


class Manifest(_Part):
    """The content of an archive."""

    format_version: int = FORMAT_VERSION
    ldtm_version: str
    created_at: datetime
    installation_id: str
    config: str
    """Name of the configuration file, whose content is the member configuration.toml."""
    schema_name: str
    dagster_schema: str
    """Name of the schema as configured; `has_dagster` is true if it is in the dump."""
    has_dagster: bool
    postgresql_version: str
    """Version of the server, such as 15.18."""
    pg_dump_version: str
    migrations: dict[str, str]
    """Applied migrations with their SHA-256."""
    num_events: int
    num_forecasts: int
    num_bars: int
    seals: tuple[SealName, ...]
    """All seals of the record, the newest last."""
    newest_seal: SealName | None
    missing_checkpoints: tuple[str, ...]
    """Files that the record names and the folder did not hold unaltered; they are not in the archive."""
    members: tuple[Member, ...]

    @property
    def server_major(self) -> int:
        """The major version of the server that was dumped."""
        return int(self.postgresql_version.partition(".")[0])

    @property
    def pg_dump_major(self) -> int:
        """The major version of pg_dump, which pg_restore must have at least."""
        return int(self.pg_dump_version.partition(".")[0])

    @property
    def made(self) -> str:
        """Time at which the archive was made, for messages."""
        return f"{self.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

    def to_json(self) -> bytes:
        """The bytes of the member manifest.json."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def sha256_line(manifest: bytes) -> bytes:
    """The member manifest.json.sha256, in the format of the program sha256sum."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def read_manifest(content: bytes, archive: str) -> Manifest:
    """The manifest of an archive. Raises RestoreRefused for the format of another version and for other content."""
    try:
        version = _Version.model_validate_json(content)
        if version.format_version != FORMAT_VERSION:
            raise RestoreRefused(
                f"{archive} has format {version.format_version} and was made by LDTM {version.ldtm_version}; this "
                f"version reads format {FORMAT_VERSION}: update LDTM. Nothing was changed"
            )
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RestoreRefused(
            f"{MANIFEST} of {archive} is not one that LDTM writes ({place}: {first['msg']}); use another backup. "
            "Nothing was changed"
        ) from None


def require_known_migrations(manifest: Manifest, known: Mapping[str, str], archive: str) -> None:
    """Raise RestoreRefused if an archive's schema has a migration that this version lacks or has with other content."""
    for name, sha256 in manifest.migrations.items():
        if known.get(name) != sha256:
            how = "does not have" if name not in known else "has with another content"
            raise RestoreRefused(
                f"{archive} was made by LDTM {manifest.ldtm_version}, and its schema has {name} applied, which this "
                f"version {how}: update LDTM, and restore then. Nothing was changed"
            )


class _Version(BaseModel):
    """The fields of every format."""

    format_version: int
    ldtm_version: str
