"""One installation: a configuration file, the folder next to it that holds its state, and its database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database, address
from ldtm_lib.database.identity import (
    EMBEDDED,
    KnownDatabase,
    installation_id,
    remember_database,
    require_embedded,
    require_known_database,
)
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.settings import Settings, load_settings

CONFIG_VARIABLE = "LDTM_CONFIG"
DATABASE_VARIABLE = "LDTM_DATABASE_URL"
DEFAULT_CONFIG = "universe.toml"
STATE_FOLDER = ".ldtm"
QUOTED_URL = re.compile(r"postgres(ql)?://(([^\s@/?#%\[\]]|%[0-9A-Fa-f]{2})*@)?[^\s@]*")
"""A PostgreSQL URL with `@` at most once, after user and password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Settings, folder and database that every command and every asset works on."""

    settings: Settings
    home: Path
    """`.ldtm/<schema>` next to the configuration file: the embedded server, checkpoint files, logs."""
    database: Database

    @property
    def dagster_database(self) -> Database:
        """Dagster's own storage: the same database, a schema of its own."""
        return self.database.with_schema(self.settings.database.dagster_schema)

    @property
    def address(self) -> str:
        """Address of the database, without user and password."""
        is_own = embedded.serves(self.home, self.database.url)
        return EMBEDDED if is_own else address(self.database.url)

    @property
    def checkpoint_folder(self) -> Path:
        """Folder of this configuration's checkpoint files."""
        return self.home / "checkpoints"


def home_of(settings: Settings) -> Path:
    """The folder that holds the state of a configuration, and of no other one."""
    return settings.path.parent / STATE_FOLDER / settings.database.ldtm_schema


def homes_beside(config: Path) -> list[Path]:
    """The state folders of all configurations in the folder of one."""
    return sorted(path for path in (config.resolve().parent / STATE_FOLDER).glob("*") if path.is_dir())


def open_project(config: Path, environ: Mapping[str, str]) -> Project:
    """Read a configuration and reach its database: the one that LDTM_DATABASE_URL names, or the embedded one.

    The embedded server is started when it does not run. Raises ConfigurationError, also if the folder belongs to a
    database elsewhere, and DatabaseUnavailable.
    """
    settings = load_settings(config)
    home = home_of(settings)
    if environ.get(DATABASE_VARIABLE):
        url = checked_url(environ[DATABASE_VARIABLE])
    else:
        require_embedded(home)
        url = embedded.start(home)
    return Project(settings=settings, home=home, database=Database(url=url, schema=settings.database.ldtm_schema))


def require_own_database(project: Project, conn: Connection) -> None:
    """Raise ConfigurationError if the folder of a project belongs to a database other than the connection's."""
    require_known_database(conn, project.home, address=project.address)


def claim_folder(project: Project) -> None:
    """Record in the folder of a project which database it belongs to; the schema must be up to date."""
    with project.database.transaction() as conn:
        identity = installation_id(conn)
    if identity is not None:
        remember_database(project.home, KnownDatabase(installation_id=identity, address=project.address))


def checked_url(url: str) -> str:
    """The URL; raises ConfigurationError, without showing it, if it is not a PostgreSQL URL or could be misread.

    A password with a bare `/` or `@` would be taken for a host and appear in the message of a failed look-up.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(
            f"{DATABASE_VARIABLE} is not a PostgreSQL URL; write postgresql://user:password@host:5432/database, "
            "with ?sslmode=verify-full on another host"
        )
    if not QUOTED_URL.fullmatch(url):
        raise ConfigurationError(
            f"{DATABASE_VARIABLE} is not a PostgreSQL URL: write special characters of its user and password as %XX, "
            "such as %40 for @, %2F for / and %25 for %"
        )
    return url


def config_path(environ: Mapping[str, str]) -> Path:
    """The configuration file that the environment names: LDTM_CONFIG, or universe.toml in the working folder."""
    return Path(environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
