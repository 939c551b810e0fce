"""The publications that a configuration names."""

from pathlib import Path

from ldtm_lib.audit.publications.git_repository import GitRepository
from ldtm_lib.audit.publications.protocol import Publication
from ldtm_lib.audit.publications.seal_file import seal_file_of
from ldtm_lib.audit.publications.time_stamps import TimeStamps
from ldtm_lib.settings import Settings

TIME_STAMPS = "timestamps"


def publications_of(settings: Settings, home: Path) -> list[Publication]:
    """The file, always; the git repository and the time stamps where they are configured.

    Configured paths are relative to the configuration file. `home` is the project's folder, which holds the time stamps
    and, without a configured path, the file.
    """
    publish, beside = settings.publish, settings.path.parent
    publications: list[Publication] = [seal_file_of(settings, home)]
    if publish.git is not None:
        publications.append(GitRepository(folder=beside / publish.git, push=publish.push))
    if publish.timestamp_url is not None and publish.timestamp_certificates is not None:
        publications.append(
            TimeStamps(
                url=publish.timestamp_url,
                certificates=beside / publish.timestamp_certificates,
                folder=home / TIME_STAMPS,
                timeout_seconds=publish.timestamp_timeout_seconds,
            )
        )
    return publications
