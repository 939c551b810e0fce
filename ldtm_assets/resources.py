"""Resources that the assets work with: the project, opened from its configuration file."""

import os
from pathlib import Path

import dagster as dg

from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import MigrationError
from ldtm_lib.installation import start_command
from ldtm_lib.project import Project, open_project


class ProjectResource(dg.ConfigurableResource):
    """The installation that a code location serves: settings, database, folders."""

    config_path: str

    def open(self) -> Project:
        """The project; starts or attaches to the embedded PostgreSQL when no server is configured.

        Raises MigrationError if the schema lacks migrations of this code, as in a run that starts after an update.
        """
        project = open_project(Path(self.config_path), os.environ)
        if pending := pending_migrations(project.database):
            raise MigrationError(
                f"schema {project.database.schema} lacks {', '.join(pending)}, which this code needs: the code was "
                f"updated while Dagster was running. `{start_command()}` applies it and restarts Dagster"
            )
        return project
