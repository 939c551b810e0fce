"""Seals in a file of JSON lines that only ever grows, with their leaves.

After a rewrite of the whole chain in the database, the leaves still show the first event that differs.
"""

import fcntl
import glob
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ldtm_lib.atomic_io import append, sync_folder
from ldtm_lib.audit.publications.protocol import Published
from ldtm_lib.audit.publications.seal_lines import continuation, hashes_of, line_of, lines_of, read_chain
from ldtm_lib.audit.seal import Seal
from ldtm_lib.errors import PublicationFailed
from ldtm_lib.settings import Settings
from ldtm_lib.wording import counted

SEAL_FILE = "seals.jsonl"
SET_ASIDE = ".before-restore-"
"""Part of the name of a file that a restore set aside, before the time: the restored record lacks its last seals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFile:
    """One file with a line per seal; several processes may publish to it at once."""

    path: Path

    @property
    def name(self) -> str:
        """The file."""
        return f"file {self.path}"

    def read(self) -> Published:
        """Read the file; checks every line, and that each continues the one before it."""
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                content = file.read()
        except FileNotFoundError:
            notes = (f"there is no {self.path} yet", *self._notes_of_restores(set()))
            return Published(seals={}, notes=notes)
        except OSError as error:
            return Published(seals={}, problems=(f"{self.path} cannot be read: {error.strerror}; make it readable",))
        found = read_chain(lines_of(str(self.path), content))
        notes = self._notes_of_restores({seal.sha256 for seal in found.seals.values()})
        return replace(found, notes=(*found.notes, *notes))

    def hashes(self) -> dict[int, bytes]:
        """The SHA-256 of every seal by its number, unchecked; lines that are not seals are left out (see `read`).

        Raises PublicationFailed when the file cannot be read.
        """
        try:
            return hashes_of(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise PublicationFailed(f"{self.path} cannot be read: {error.strerror}; make it readable") from None

    def publish(self, seals: Sequence[Seal]) -> None:
        """Append the seals that are not there yet, in one write that is on the disk when this returns.

        A line that a crash truncated stays, as evidence, and a new line begins after it.
        """
        if not seals:
            return
        try:
            with self._opened_for_appending() as file:
                content = _whole_content(file)
                published = read_chain(lines_of(str(self.path), content))
                more = continuation(published, seals)
                new_line = b"\n" if content and not content.endswith(b"\n") else b""
                if more.seals:
                    append(file, new_line + b"".join(map(line_of, more.seals)))
                    sync_folder(self.path.parent)
        except OSError as error:
            raise PublicationFailed(
                f"{self.path} cannot be appended to: {error.strerror}; make room or make it writable, and publish again"
            ) from None
        if more.refusal is not None:
            raise PublicationFailed(f"{self.path}: {more.refusal}")

    def _notes_of_restores(self, published: Collection[bytes]) -> Iterator[str]:
        """Name the files of a newer record that restores have set aside, and the seals that were lost with it."""
        for path in sorted(self.path.parent.glob(glob.escape(self.path.name) + SET_ASIDE + "*")):
            try:
                hashes = SealFile(path=path).hashes()
            except PublicationFailed as failed:
                yield str(failed)
                continue
            if lost := [number for number, sha256 in sorted(hashes.items()) if sha256 not in published]:
                yield (
                    f"{path} holds {counted(len(lost), 'published seal')} from seal {lost[0]} on that this record "
                    "does not have: it was restored from an older backup, and that part of the record was lost"
                )

    @contextmanager
    def _opened_for_appending(self) -> Generator[int]:
        """Open the file for one process at a time; creates it if it does not exist."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def seal_file_of(settings: Settings, home: Path) -> SealFile:
    """The file of an installation: the configured path, relative to the configuration, or in the project's folder."""
    given = settings.publish.file
    return SealFile(path=home / SEAL_FILE if given is None else settings.path.parent / given)


def _whole_content(file: int) -> bytes:
    with open(file, "rb", closefd=False) as reader:
        reader.seek(0)
        return reader.read()
