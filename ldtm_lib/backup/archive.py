"""The archive: an uncompressed tar of plain files, written in one pass and verified byte by byte before it is used.

Members of unknown size, such as a dump, are streamed: their header is written again when the size is known. The
manifest comes last, followed by the file that holds its SHA-256, so that a truncated archive lacks that file.
"""

import errno
import fcntl
import hashlib
import os
import tarfile
import uuid
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ldtm_lib.atomic_io import sync_folder
from ldtm_lib.backup.manifest import MANIFEST, MANIFEST_SHA256, NAMES, Manifest, Member, read_manifest, sha256_line
from ldtm_lib.errors import BackupFailed, RestoreRefused
from ldtm_lib.wording import counted

BLOCK_BYTES = 1 << 20
TAR_BLOCK = tarfile.BLOCKSIZE
MAX_NAME = 100
"""Bytes of a name in one tar header."""
MAX_MANIFEST_BYTES = 64 << 20
PART_SUFFIX = ".ldtm-backup.part"
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(slots=True, kw_only=True)
class ArchiveWriter:
    """An archive that is being written."""

    file: BinaryIO
    mtime: datetime
    members: list[Member] = field(default_factory=list[Member])

    def add(self, name: str, content: bytes) -> None:
        """Add a file with the given content."""
        self.stream(name, [content])

    def stream(self, name: str, blocks: Iterable[bytes]) -> int:
        """Add a file block by block; returns its size."""
        start = self.file.tell()
        self.file.write(bytes(TAR_BLOCK))
        found, size = hashlib.sha256(), 0
        for block in blocks:
            self.file.write(block)
            found.update(block)
            size += len(block)
        self.file.write(bytes(-size % TAR_BLOCK))
        end = self.file.tell()
        self.file.seek(start)
        self.file.write(self._header(name, size))
        self.file.seek(end)
        self.members.append(Member(name=name, size=size, sha256=found.hexdigest()))
        return size

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest and its hash, and end the archive."""
        content = manifest.to_json()
        self.add(MANIFEST, content)
        self.add(MANIFEST_SHA256, sha256_line(content))
        self.file.write(bytes(2 * TAR_BLOCK))
        self.file.write(bytes(-self.file.tell() % tarfile.RECORDSIZE))

    def _header(self, name: str, size: int) -> bytes:
        if len(name) > MAX_NAME:
            raise BackupFailed(f"the name {name} is too long for an archive; nothing was written")
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(self.mtime.timestamp())
        return info.tobuf(tarfile.GNU_FORMAT)


@contextmanager
def new_archive(target: Path, mtime: datetime) -> Generator[ArchiveWriter]:
    """Write an archive that gets its name when it is complete and on the disk, and never before.

    Raises BackupFailed if the name is taken or its folder is missing.
    """
    _require_free(target)
    if not target.parent.is_dir():
        raise BackupFailed(f"there is no folder {target.parent.absolute()}; create it, or name another archive")
    _remove_stale_parts(target.parent)
    part, opened = _locked_part(target)
    try:
        with os.fdopen(opened, "r+b", buffering=BLOCK_BYTES) as file:
            yield ArchiveWriter(file=file, mtime=mtime)
            file.flush()
            os.fsync(file.fileno())
            _name_without_replacing(part, target)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(target.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The bytes of a member."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A verified archive, open for reading: the bytes that are read are the ones that were verified."""

    path: Path
    manifest: Manifest
    file: BinaryIO
    places: dict[str, _Place]

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of a member block by block."""
        yield from _blocks(self.file, self.places[name])

    def content(self, name: str) -> bytes:
        """The whole content of a small member."""
        return b"".join(self.blocks(name))

    def member(self, name: str) -> Member | None:
        """A member by its name; None where the archive lacks it."""
        return next((member for member in self.manifest.members if member.name == name), None)

    def below(self, folder: str) -> list[Member]:
        """The members in a folder of the archive."""
        return [member for member in self.manifest.members if member.name.startswith(folder)]


@contextmanager
def open_archive(path: Path) -> Generator[Archive]:
    """Open an archive and verify all of it: names, kinds, sizes, hashes, and that there is nothing between members.

    Raises RestoreRefused for anything that `ldtm backup` would not have written.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise RestoreRefused(f"{path} cannot be read: {error.strerror}; name an archive of `ldtm backup`") from None
    with file:
        places = _read_headers(path, file)
        if list(places)[-2:] != [MANIFEST, MANIFEST_SHA256]:
            raise _damaged(path, f"its end with {MANIFEST} is missing: it was truncated, or another program wrote it")
        if places[MANIFEST].size > MAX_MANIFEST_BYTES:
            raise _damaged(path, f"{MANIFEST} has {counted(places[MANIFEST].size, 'byte')}")
        content = b"".join(_blocks(file, places[MANIFEST]))
        if b"".join(_blocks(file, places[MANIFEST_SHA256])) != sha256_line(content):
            raise _damaged(path, f"{MANIFEST} is not the one that {MANIFEST_SHA256} states")
        manifest = read_manifest(content, str(path))
        _verify_members(path, file, places, manifest)
        yield Archive(path=path, manifest=manifest, file=file, places=places)


def _read_headers(path: Path, file: BinaryIO) -> dict[str, _Place]:
    """The members in the order of the archive, which must follow each other without a gap."""
    size, at = os.fstat(file.fileno()).st_size, 0
    places: dict[str, _Place] = {}
    while block := os.pread(file.fileno(), TAR_BLOCK, at):
        if not any(block):
            _require_zeros(path, file, at, size)
            break
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            if at == 0:
                raise RestoreRefused(f"{path} is not an archive of `ldtm backup`; nothing was changed") from None
            raise _damaged(path, f"the header at byte {at:,} cannot be read ({error})") from None
        if info.type != tarfile.REGTYPE:
            raise _damaged(path, f"{info.name} is not a plain file")
        if not NAMES.fullmatch(info.name) and info.name not in (MANIFEST, MANIFEST_SHA256):
            raise _damaged(path, f"it holds {info.name!r}, which is not part of a backup")
        if info.name in places:
            raise _damaged(path, f"it holds {info.name} twice")
        place = _Place(offset=at + TAR_BLOCK, size=info.size)
        at = place.offset + place.size + -place.size % TAR_BLOCK
        if not 0 <= place.size <= size or at > size:
            raise _damaged(path, f"it ends within {info.name}: it was truncated")
        padding = os.pread(file.fileno(), -place.size % TAR_BLOCK, place.offset + place.size)
        if any(padding):
            raise _damaged(path, f"the bytes after {info.name} are not zero")
        places[info.name] = place
    return places


def _verify_members(path: Path, file: BinaryIO, places: dict[str, _Place], manifest: Manifest) -> None:
    stated = [member.name for member in manifest.members]
    if stated != list(places)[:-2]:
        differing = sorted(set(stated).symmetric_difference(list(places)[:-2])) or stated
        raise _damaged(path, f"its members are not those of its manifest: {', '.join(differing[:3])}")
    for member in manifest.members:
        place = places[member.name]
        if place.size != member.size:
            raise _damaged(
                path, f"{member.name} has {counted(place.size, 'byte')}, and {member.size:,} in the manifest"
            )
        found = hashlib.sha256()
        for block in _blocks(file, place):
            found.update(block)
        if found.hexdigest() != member.sha256:
            raise _damaged(path, f"{member.name} was altered: its SHA-256 is {found.hexdigest()}, not {member.sha256}")


def _require_zeros(path: Path, file: BinaryIO, at: int, size: int) -> None:
    """Check the end of an archive: at least two blocks and at most a record of zeros."""
    rest = os.pread(file.fileno(), tarfile.RECORDSIZE + 2 * TAR_BLOCK, at)
    if any(rest) or len(rest) != size - at or len(rest) < 2 * TAR_BLOCK or size % tarfile.RECORDSIZE:
        raise _damaged(path, f"its end at byte {at:,} is not that of an archive")


def _blocks(file: BinaryIO, place: _Place) -> Iterator[bytes]:
    at, end = place.offset, place.offset + place.size
    while at < end:
        block = os.pread(file.fileno(), min(BLOCK_BYTES, end - at), at)
        if not block:
            raise RestoreRefused("the archive became shorter while it was read; nothing was changed")
        yield block
        at += len(block)


def _damaged(path: Path, reason: str) -> RestoreRefused:
    return RestoreRefused(f"{path} is damaged: {reason}. Use another copy or another backup; nothing was changed")


def _require_free(target: Path) -> None:
    if os.path.lexists(target):
        raise BackupFailed(f"{target} exists and is not overwritten; name another archive, or move it away")


def _name_without_replacing(part: Path, target: Path) -> None:
    """Give a complete file its name, unless another file took that name meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        _require_free(target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _require_free(target)
        part.rename(target)


def _locked_part(target: Path) -> tuple[Path, int]:
    """A new file next to the archive with a lock on it, as path and descriptor.

    Until the lock is held, another backup may take it for the rest of a killed backup and remove it; then a new one is
    made.
    """
    while True:
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PART_SUFFIX}")
        opened = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(opened, fcntl.LOCK_EX)
        if os.fstat(opened).st_nlink:
            return part, opened
        os.close(opened)


def _remove_stale_parts(folder: Path) -> None:
    """Remove the files that killed backups have left; a running backup holds the lock of its file."""
    for part in folder.glob(f".*{PART_SUFFIX}"):
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)
