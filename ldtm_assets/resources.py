"""What the assets work with: the project, opened from its configuration file."""

import os
from pathlib import Path

import dagster as dg

from ldtm_lib.project import Project, open_project


class ProjectResource(dg.ConfigurableResource):
    """The installation that a code location serves: settings, database, folders."""

    config_path: str

    def open(self) -> Project:
        """The project; starts or attaches to the embedded PostgreSQL when no server is configured."""
        return open_project(Path(self.config_path), os.environ)
