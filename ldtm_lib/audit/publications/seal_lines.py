"""The line of JSON that a seal is published as, and functions that read and continue a chain of such lines."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ldtm_lib.audit.merkle import merkle_root
from ldtm_lib.audit.publications.protocol import Published, PublishedSeal
from ldtm_lib.audit.seal import GENESIS, LEAF_BYTES, Seal

COMPARE = "compare it with a copy kept elsewhere, and restore that copy"
_NUMBERS = ("seal_id", "first_event", "num_events")
_HASH = re.compile(rb'^\{"seal_id":(?P<seal_id>\d{1,18}),.*"sha256":"(?P<sha256>[0-9a-f]{64})","leaves":"[^"]*"\}$')
_ZEROS = b"\x00"
"""Byte that some file systems leave after a power loss instead of bytes that had not reached the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealLine:
    """A line as it was found."""

    place: str
    """The file and the number of the line."""
    content: bytes
    """Without its newline."""
    is_terminated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """The seals that continue a chain of lines."""

    seals: tuple[Seal, ...]
    refusal: str | None
    """Reason why other seals are not added, as a sentence."""


def line_of(seal: Seal) -> bytes:
    """The line of a seal with its newline: every field readable, so that it can be checked without LDTM."""
    fields = {
        "seal_id": seal.seal_id,
        "session": seal.session.isoformat(),
        "first_event": seal.first_event,
        "num_events": seal.num_events,
        "merkle_root": seal.merkle_root.hex(),
        "previous_sha256": seal.previous_sha256.hex(),
        "sealed_at": seal.sealed_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "sha256": seal.sha256.hex(),
        "leaves": base64.b64encode(seal.leaves).decode(),
    }
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def seal_of(content: bytes) -> Seal:
    """The seal of a line without its newline; raises ValueError for anything that `line_of` would not have written."""
    try:
        fields = json.loads(content)
        seal = Seal(
            seal_id=fields["seal_id"],
            session=date.fromisoformat(fields["session"]),
            first_event=fields["first_event"],
            num_events=fields["num_events"],
            merkle_root=bytes.fromhex(fields["merkle_root"]),
            previous_sha256=bytes.fromhex(fields["previous_sha256"]),
            sealed_at=datetime.fromisoformat(fields["sealed_at"]),
            sha256=bytes.fromhex(fields["sha256"]),
            leaves=base64.b64decode(fields["leaves"], validate=True),
        )
        written = line_of(seal)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no seal: {type(error).__name__}") from None
    if written != content + b"\n" or any(type(fields[n]) is not int or not 0 <= fields[n] < 1 << 63 for n in _NUMBERS):
        raise ValueError("not the line of a seal as LDTM writes it")
    return seal


def hashes_of(content: bytes) -> dict[int, bytes]:
    """The SHA-256 of every seal in a file by its number, without a check of the seals; other lines are left out."""
    found: dict[int, bytes] = {}
    for line in content.split(b"\n"):
        if match := _HASH.search(line):
            found.setdefault(int(match["seal_id"]), bytes.fromhex(match["sha256"].decode()))
    return found


def lines_of(name: str, content: bytes) -> Iterator[SealLine]:
    """The lines of a file; the last one lacks its newline if a crash truncated it."""
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        is_last = number == len(lines)
        if line or not is_last:
            yield SealLine(place=f"{name}:{number}", content=line, is_terminated=not is_last)


def read_chain(lines: Iterable[SealLine]) -> Published:
    """Read lines as one chain, and report where it is broken.

    Crashes leave a truncated last line, or a truncated line whose full content is in the line after or before it: these
    give notes. It is in the line before if one crash lost only the newline, and a second crash truncated the
    repetition.
    """
    seals: dict[int, PublishedSeal] = {}
    problems: list[str] = []
    notes: list[str] = []
    unread: list[SealLine] = []
    last: Seal | None = None
    last_line: SealLine | None = None
    for line in lines:
        seal = _whole_seal(line)
        if seal is None:
            unread.append(line)
            continue
        for earlier in unread:
            cut = earlier.content.rstrip(_ZEROS)
            if line.content.startswith(cut):
                notes.append(f"{earlier.place} was cut by a crash and is written again in {line.place}")
            elif last_line is not None and last_line.content.startswith(cut):
                notes.append(f"{earlier.place} was cut by a crash and repeats {last_line.place}")
            else:
                problems.append(f"{earlier.place} is not the line of a seal as LDTM writes it; {COMPARE}")
        unread.clear()
        last_line = line
        if seal.seal_id in seals:
            if seals[seal.seal_id].sha256 != seal.sha256:
                problems.append(f"{line.place} holds another seal {seal.seal_id} than a line before it; {COMPARE}")
            else:
                notes.append(f"{line.place} repeats seal {seal.seal_id}")
            continue
        problems += [f"{line.place}: {problem}; {COMPARE}" for problem in _problems(seal, last)]
        seals[seal.seal_id] = PublishedSeal(
            seal_id=seal.seal_id, sha256=seal.sha256, session=seal.session, leaves=seal.leaves
        )
        last = seal
    for line in unread:
        if _is_cut(line, last, last_line):
            notes.append(f"{line.place} was cut by a crash; publishing again writes it in full")
        else:
            problems.append(f"{line.place} is not the line of a seal as LDTM writes it; {COMPARE}")
    return Published(seals=seals, problems=tuple(problems), notes=tuple(notes))


def continuation(published: Published, seals: Sequence[Seal]) -> Continuation:
    """The seals that continue the published chain, in order, and the reason why others do not.

    A line that was lost in the middle does not hold back newer seals: its seal is refused, and seals that continue the
    end are not.
    """
    newest = max(published.seals, default=-1)
    expected = published.seals[newest].sha256 if newest >= 0 else GENESIS
    added: list[Seal] = []
    refusal: str | None = None
    for seal in seals:
        if seal.seal_id in published.seals:
            continue
        if seal.seal_id <= newest:
            refusal = f"seal {seal.seal_id} is missing before newer ones, where it cannot be added; {COMPARE}"
            continue
        if seal.expected_sha256 != seal.sha256:
            refusal = f"the header of seal {seal.seal_id} in the database does not give its sha256; verify the record"
            break
        if seal.seal_id != newest + 1 or seal.previous_sha256 != expected:
            after = f"what was published as seal {newest}" if newest >= 0 else "an empty publication"
            refusal = (
                f"seal {seal.seal_id} in the database does not follow {after}: one of the two was altered, or the "
                "database was restored from an older backup; verify the record, and publish to a new place if it is "
                "intact"
            )
            break
        added.append(seal)
        newest, expected = seal.seal_id, seal.sha256
    return Continuation(seals=tuple(added), refusal=refusal)


def _whole_seal(line: SealLine) -> Seal | None:
    if not line.is_terminated:
        return None
    try:
        return seal_of(line.content)
    except ValueError:
        return None


def _is_cut(line: SealLine, last: Seal | None, last_line: SealLine | None) -> bool:
    """True if crashes explain a final line: it is truncated, or begins like the line of the next or the last seal."""
    if not line.is_terminated:
        return True
    if last_line is not None and last_line.content.startswith(line.content.rstrip(_ZEROS)):
        return True
    begins = b'{"seal_id":%d,' % (0 if last is None else last.seal_id + 1)
    content = line.content.rstrip(_ZEROS)
    return content.startswith(begins) or begins.startswith(content)


def _problems(seal: Seal, last: Seal | None) -> Iterator[str]:
    """Contradictions within a seal and with the seal before it."""
    if seal.expected_sha256 != seal.sha256:
        yield f"the header of seal {seal.seal_id} does not give its sha256"
    if len(seal.leaves) != seal.num_events * LEAF_BYTES or merkle_root(seal.leaf_list) != seal.merkle_root:
        yield f"the leaves of seal {seal.seal_id} do not give its merkle_root"
    if last is not None and seal.sealed_at <= last.sealed_at:
        yield f"seal {seal.seal_id} was closed before the seal before it"
    next_id, previous = (0, GENESIS) if last is None else (last.seal_id + 1, last.sha256)
    if seal.seal_id != next_id:
        yield f"seal {seal.seal_id} is where seal {next_id} belongs"
    elif seal.previous_sha256 != previous:
        yield f"the previous_sha256 of seal {seal.seal_id} is not the sha256 before it"
