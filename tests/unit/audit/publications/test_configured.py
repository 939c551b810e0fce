"""Which publications a configuration means, and where they keep what they hold."""

from pathlib import Path

from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.publications.git_repository import GitRepository
from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.audit.publications.time_stamps import TimeStamps
from ldtm_lib.settings import PublishConfig, Settings


def test_the_file_is_always_on(settings: Settings, tmp_path: Path) -> None:
    assert publications_of(settings, tmp_path / "home") == [SealFile(path=tmp_path / "home" / "seals.jsonl")]


def test_paths_are_relative_to_the_configuration_file(settings: Settings, tmp_path: Path) -> None:
    publish = PublishConfig(
        file="kept/seals.jsonl",
        git="/srv/record",
        push=True,
        timestamp_url="https://tsa.example.org/tsr",
        timestamp_certificates="tsa.pem",
        timestamp_timeout_seconds=3.0,
    )
    assert publications_of(settings.replace(publish=publish), tmp_path / "home") == [
        SealFile(path=tmp_path / "kept" / "seals.jsonl"),
        GitRepository(folder=Path("/srv/record"), push=True),
        TimeStamps(
            url="https://tsa.example.org/tsr",
            certificates=tmp_path / "tsa.pem",
            folder=tmp_path / "home" / "timestamps",
            timeout_seconds=3.0,
        ),
    ]
