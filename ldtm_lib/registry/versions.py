"""The versions of a ticker's promoted networks: their names, and the copies of their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.file_names import ticker_file_name
from ldtm_lib.models import checkpoint
from ldtm_lib.registry.checkpoints import CheckpointRecord, is_intact
from ldtm_lib.settings import ArchitectureConfig

FIRST_MAJOR = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Name of a network from its promotion on."""

    major: int
    name: str
    """Such as `v1.2026-03-02`."""
    file_name: str
    """Relative to the checkpoint folder."""


def publish(
    folder: Path,
    network: CheckpointRecord,
    *,
    major: int,
    history: Sequence[CheckpointRecord],
    architecture: ArchitectureConfig,
) -> Version:
    """Copy a network's file, verified, under the name of a new version; the copy is on the disk on return.

    `history` holds every promotion of the ticker. Raises CheckpointRefused when the file is not the one on record or of
    another architecture, and CheckpointNotWritten when the copy cannot be written.
    """
    source = checkpoint.file_of(folder, network.file_name)
    checkpoint.load(source, sha256=network.file_sha256, architecture=architecture)
    version = _next_version(folder, network, major=major, history=history)
    content = checkpoint.read_verified(source, sha256=network.file_sha256)
    checkpoint.write_bytes(content, checkpoint.file_of(folder, version.file_name))
    return version


def earned_major(candidate: CheckpointRecord, history: Sequence[CheckpointRecord]) -> int:
    """The major version of a promotion: it increases if the architecture differs from that of the promotion before.

    `history` has the newest promotion first. Promotions that restored a network do not count.
    """
    newest = next((record for record in history if record.restores is None), None)
    if newest is None:
        return FIRST_MAJOR
    return (newest.major or FIRST_MAJOR) + (newest.architecture_sha256 != candidate.architecture_sha256)


def active_one(history: Sequence[CheckpointRecord]) -> CheckpointRecord | None:
    """The promotion that is active now, if there is one."""
    return next((record for record in history if record.status == "active"), None)


def _next_version(
    folder: Path, network: CheckpointRecord, *, major: int, history: Sequence[CheckpointRecord]
) -> Version:
    """An unused name; a name in use gets .2, .3 and so on. A copy that a crash left is used."""
    taken = {record.version for record in history}
    number = 1
    while True:
        name = f"v{major}.{network.trained_on}" + (f".{number}" if number > 1 else "")
        file_name = f"{ticker_file_name(network.ticker)}_ldtm_{name}.pt"
        path = folder / file_name
        if name not in taken and (not path.exists() or is_intact(path, network.file_sha256)):
            return Version(major=major, name=name, file_name=file_name)
        number += 1
