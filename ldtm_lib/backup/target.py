"""The installation that an archive is restored into: its configuration, its folder, and the URL of its database."""

from collections.abc import Mapping
from pathlib import Path

from ldtm_lib.backup.archive import Archive
from ldtm_lib.backup.manifest import CONFIGURATION, require_known_migrations
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.database.identity import EMBEDDED, known_database
from ldtm_lib.database.migrate import migrations
from ldtm_lib.errors import ConfigurationError, RestoreRefused
from ldtm_lib.project import DATABASE_VARIABLE, Project, checked_url, home_of
from ldtm_lib.settings import load_settings, read_settings


def restore_target(archive: Archive, config: Path, environ: Mapping[str, str]) -> Project:
    """The installation that an archive is to be restored into; the embedded server is started if it is the target.

    The configuration is the file `config` if it exists, otherwise that of the archive. Raises RestoreRefused if the
    archive has unknown migrations or other names of schemas, or if the folder belongs to another record, and
    ConfigurationError if the folder has a database other than the embedded one and LDTM_DATABASE_URL is not set.
    """
    manifest = archive.manifest
    require_known_migrations(manifest, {step.name: step.sha256 for step in migrations()}, str(archive.path))
    settings = (
        load_settings(config) if config.exists() else read_settings(archive.content(CONFIGURATION).decode(), config)
    )
    configured = (settings.database.ldtm_schema, settings.database.dagster_schema)
    if configured != (manifest.schema_name, manifest.dagster_schema):
        raise RestoreRefused(
            f"{archive.path} holds the schemas {manifest.schema_name} and {manifest.dagster_schema}, and {config} "
            f"names {configured[0]} and {configured[1]} under [database]; a record is restored under the same names "
            "only. Nothing was changed"
        )
    home = home_of(settings)
    known = known_database(home)
    if known is not None and known.installation_id != manifest.installation_id:
        raise RestoreRefused(
            f"{home} belongs to the record {known.installation_id} at {known.address}, and {archive.path} holds the "
            f"record {manifest.installation_id}; restore it into another folder, or move {home} away. Nothing was "
            "changed"
        )
    if environ.get(DATABASE_VARIABLE):
        url = checked_url(environ[DATABASE_VARIABLE])
    elif known is not None and known.address != EMBEDDED:
        raise ConfigurationError(
            f"{DATABASE_VARIABLE} is not set, and {home} belongs to the database at {known.address}; set it to the "
            "database that the archive is to be restored into. Nothing was changed"
        )
    else:
        url = embedded.start(home)
    return Project(settings=settings, home=home, database=Database(url=url, schema=settings.database.ldtm_schema))
