"""The files of a restore: checkpoint files are added, published seals are added or set aside.

No file that exists in the folder is overwritten or removed.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from ldtm_lib.atomic_io import sync_folder
from ldtm_lib.audit.publications.configured import TIME_STAMPS
from ldtm_lib.audit.publications.seal_file import SET_ASIDE, SealFile, seal_file_of
from ldtm_lib.backup.archive import Archive
from ldtm_lib.backup.manifest import CHECKPOINTS, SEALS, TIMESTAMPS, Manifest, Member
from ldtm_lib.errors import RestoreRefused
from ldtm_lib.project import Project

BLOCK_BYTES = 1 << 20
TOKEN = re.compile(r"(?P<seal_id>\d+)-(?P<sha256>[0-9a-f]{16})\.tsr")


def missing_checkpoints(archive: Archive, folder: Path) -> list[Member]:
    """The checkpoint files of an archive that a folder lacks.

    Raises RestoreRefused if one exists there with another content.
    """
    missing: list[Member] = []
    for member in archive.below(CHECKPOINTS):
        path = folder / member.name.removeprefix(CHECKPOINTS)
        if not os.path.lexists(path):
            missing.append(member)
        elif not path.is_file() or _sha256(path) != member.sha256:
            raise RestoreRefused(
                f"{path} exists, differs from the file in the archive and is not overwritten; move it away, and "
                "restore again. Nothing was changed"
            )
    return missing


def add_checkpoints(archive: Archive, folder: Path, members: Iterable[Member]) -> int:
    """Write the checkpoint files that a folder lacks; returns their number. All are on the disk on return."""
    num = 0
    for member in members:
        _write(folder / member.name.removeprefix(CHECKPOINTS), archive.blocks(member.name))
        num += 1
    return num


def require_writable_publications(project: Project) -> None:
    """Raise RestoreRefused if the published seals could not be added or set aside after the restore."""
    for folder in (seal_file_of(project.settings, project.home).path.parent, project.home):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise RestoreRefused(f"{folder} holds published seals and cannot be written to; nothing was changed")


def place_publications(archive: Archive, project: Project, now: datetime) -> list[Path]:
    """Put the published seals in place; returns the names under which others were set aside.

    A file that holds a seal which the archive does not have is renamed; one that the archive continues is continued.
    """
    moment = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    aside: list[Path] = []
    seal_file = seal_file_of(project.settings, project.home)
    if _holds_others(seal_file, archive.manifest):
        aside.append(_set_aside(seal_file.path, moment))
    if archive.member(SEALS) is not None and _is_continued_by(seal_file.path, archive):
        _write(seal_file.path, archive.blocks(SEALS), replace=True)
    folder = project.home / TIME_STAMPS
    if _has_other_tokens(folder, archive.manifest):
        aside.append(_set_aside(folder, moment))
    for member in archive.below(TIMESTAMPS):
        path = folder / member.name.removeprefix(TIMESTAMPS)
        if not os.path.lexists(path):
            _write(path, archive.blocks(member.name))
    return aside


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist."""
    _write(path, [content])


def _holds_others(file: SealFile, manifest: Manifest) -> bool:
    own = {seal.seal_id: seal.sha256 for seal in manifest.seals}
    return any(own.get(number) != sha256.hex() for number, sha256 in file.hashes().items())


def _has_other_tokens(folder: Path, manifest: Manifest) -> bool:
    own = {(seal.seal_id, seal.sha256[:16]) for seal in manifest.seals}
    names = [name for path in folder.glob("*.tsr") if (name := TOKEN.fullmatch(path.name))]
    return any((int(name["seal_id"]), name["sha256"]) not in own for name in names)


def _is_continued_by(path: Path, archive: Archive) -> bool:
    """True if a file is missing, or if the file in the archive begins with its content and continues."""
    member = archive.member(SEALS)
    assert member is not None
    if not path.exists():
        return True
    left = path.stat().st_size
    if left >= member.size:
        return False
    with path.open("rb") as file:
        for block in archive.blocks(SEALS):
            part = block[:left]
            if file.read(len(part)) != part:
                return False
            left -= len(part)
            if not left:
                return True
    return True


def _set_aside(path: Path, moment: str) -> Path:
    """Rename a file or folder within its folder, to a name that is free."""
    for number in range(1, 100):
        target = path.with_name(f"{path.name}{SET_ASIDE}{moment}{'' if number == 1 else f'-{number}'}")
        if not os.path.lexists(target):
            path.rename(target)
            sync_folder(path.parent)
            return target
    raise RestoreRefused(f"{path} cannot be set aside: all names for it are taken; move it away and restore again")


def _write(path: Path, blocks: Iterable[bytes], *, replace: bool = False) -> None:
    """Write a file atomically: it exists with all of its content or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if not replace and os.path.lexists(path):
            raise RestoreRefused(f"{path} was created during the restore; restore again")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
