"""Seals in a file of JSON lines that only ever grows, with their leaves.

After a rewrite of the whole chain in the database, the leaves still tell the first row that differs.
"""

import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ldtm_lib.atomic_io import append, sync_folder
from ldtm_lib.audit.publications.protocol import Published
from ldtm_lib.audit.publications.seal_lines import continuation, hashes_of, line_of, lines_of, read_chain
from ldtm_lib.audit.seal import Seal
from ldtm_lib.errors import PublicationFailed
from ldtm_lib.settings import Settings

SEAL_FILE = "seals.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFile:
    """One file, a line a seal; several processes may publish to it at once."""

    path: Path

    @property
    def name(self) -> str:
        """The file."""
        return f"file {self.path}"

    def read(self) -> Published:
        """Every line checked, and that each continues the one before it."""
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                content = file.read()
        except FileNotFoundError:
            return Published(seals={}, notes=(f"there is no {self.path} yet",))
        except OSError as error:
            return Published(seals={}, problems=(f"{self.path} cannot be read: {error.strerror}; make it readable",))
        return read_chain(lines_of(str(self.path), content))

    def hashes(self) -> dict[int, bytes]:
        """The SHA-256 of every seal by its number, unchecked; a line that is none is left out, `read` reports it.

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

        A line that a crash has cut stays, as evidence, and a new line begins after it.
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

    @contextmanager
    def _opened_for_appending(self) -> Generator[int]:
        """The file, and nobody else's meanwhile; made if it does not exist."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def seal_file_of(settings: Settings, home: Path) -> SealFile:
    """The file of an installation: the configured one beside the configuration, or one in the project's folder."""
    given = settings.publish.file
    return SealFile(path=home / SEAL_FILE if given is None else settings.path.parent / given)


def _whole_content(file: int) -> bytes:
    with open(file, "rb", closefd=False) as reader:
        reader.seek(0)
        return reader.read()
