"""All places outside of the ledger's tables that an installation publishes its seals in."""

import dagster as dg

from ldtm_assets.assets.seals import DagsterEventLog
from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.publications.protocol import Publication
from ldtm_lib.project import Project


def all_publications(project: Project, instance: dg.DagsterInstance) -> list[Publication]:
    """What the configuration asks for, and Dagster's event log."""
    return [*publications_of(project.settings, project.home), DagsterEventLog(instance)]
