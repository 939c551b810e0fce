"""Opens files of a source folder, which others may write to: only regular files inside of it, of a bounded size."""

import os
import stat
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from gzip import GzipFile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import polars as pl

from ldtm_lib.errors import LdtmError, MalformedFile

MOST_BYTES = 256 * 2**20
"""Largest size of a file of bars, in bytes. A century of daily bars of 100 tickers takes 150 MiB as text."""
SHOWN_NAME, SHOWN_CHARACTERS = 120, 40
"""Characters of a file's name, and of its content, that a message shows."""


def open_source_file(path: Path, folder: Path, most_bytes: int = MOST_BYTES) -> BinaryIO:
    """Open a file of a folder for reading, without waiting for a writer.

    Raises MalformedFile for a link that leads out of the folder, a special file, and a file that is too large or cannot
    be opened. A link to another file inside of the folder is followed.
    """
    name = shown_name(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise MalformedFile(f"{name} is not a regular file; remove it")
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise MalformedFile(f"{name} cannot be read ({error.strerror}); check its owner and permissions") from None
    try:
        opened = os.fstat(file.fileno())
        if not stat.S_ISREG(opened.st_mode):
            raise MalformedFile(f"{name} is not a regular file; remove it")
        if not _is_inside(path, folder, opened):
            raise MalformedFile(f"{name} is a link that leads out of the source folder; copy the file into the folder")
        if opened.st_size > most_bytes:
            raise MalformedFile(
                f"{name} has {opened.st_size / 2**20:,.0f} MiB, above the bound of {most_bytes / 2**20:g} MiB; "
                "split it into one file per ticker"
            )
    except MalformedFile:
        file.close()
        raise
    return file


def read_source_file(path: Path, folder: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a file of a folder; raises MalformedFile as `open_source_file` does."""
    with open_source_file(path, folder, most_bytes) as file:
        try:
            return file.read(most_bytes)
        except OSError as error:
            raise MalformedFile(f"{shown_name(path)} cannot be read ({error.strerror}); check its disk") from None


def decompressed(name: str, content: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a gzip file; raises MalformedFile for one that is damaged, cut, or too large when unpacked."""
    try:
        unpacked = GzipFile(fileobj=BytesIO(content)).read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise MalformedFile(f"{name} is not a complete gzip file ({error}); compress it again") from None
    if len(unpacked) > most_bytes:
        raise MalformedFile(
            f"{name} unpacks to more than {most_bytes / 2**20:g} MiB, which is the bound; "
            "split it into one file per ticker"
        )
    return unpacked


@contextmanager
def failing_by_name(name: str) -> Generator[None]:
    """Turn any exception but LdtmError, panics of polars included, into a MalformedFile that names the file."""
    try:
        yield
    except LdtmError:
        raise
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise MalformedFile(f"{name} is damaged: polars cannot read it; export it again or remove it") from error
    except Exception as error:
        reason = shown(f"{type(error).__name__}: {error}".split("\n", 1)[0], SHOWN_NAME)
        raise MalformedFile(f"{name} cannot be read ({reason}); export it again or remove it") from error


def shown_name(path: Path) -> str:
    """The name of a file as messages show it: printable, on one line and of a bounded length."""
    return shown(path.name, SHOWN_NAME)


def shown(text: str, most_characters: int = SHOWN_CHARACTERS) -> str:
    """The beginning of a text that others wrote, with escapes instead of characters that are not printable."""
    start = text[:most_characters]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in start)
    return escaped if len(text) <= most_characters else f"{escaped}..."


def _is_inside(path: Path, folder: Path, opened: os.stat_result) -> bool:
    """True if the path, with links resolved, is inside of the folder and leads to the opened file."""
    try:
        resolved = path.resolve(strict=True)
        return resolved.is_relative_to(folder.resolve()) and os.path.samestat(os.stat(resolved), opened)
    except (OSError, RuntimeError):
        return False
