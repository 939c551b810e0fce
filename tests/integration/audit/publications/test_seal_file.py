"""The file of seals: what a crash, two writers at once and an editor do to it, and what its reader says."""

import base64
import dataclasses
import fcntl
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.audit.publications.seal_lines import line_of, seal_of
from ldtm_lib.errors import PublicationFailed
from tests.integration.audit.publications.chains import chain, resealed
from tests.repository import REPOSITORY

SEALS = chain(8)
COMPARE = "; compare it with a copy kept elsewhere, and restore that copy"


@pytest.fixture
def file(tmp_path: Path) -> SealFile:
    return SealFile(path=tmp_path / "state" / "seals.jsonl")


def lines_in(file: SealFile) -> list[bytes]:
    return file.path.read_bytes().splitlines(keepends=True)


def test_a_line_holds_every_field_in_plain_sight() -> None:
    fields = json.loads(line_of(SEALS[1]))
    assert list(fields) == [
        "seal_id",
        "session",
        "first_event",
        "num_events",
        "merkle_root",
        "previous_sha256",
        "sealed_at",
        "sha256",
        "leaves",
    ]
    assert fields["session"] == "2026-01-03"
    assert fields["sealed_at"] == "2026-01-03T23:15:00.000123+00:00"
    assert fields["previous_sha256"] == SEALS[0].expected_sha256.hex()
    assert base64.b64decode(fields["leaves"]) == SEALS[1].leaves


def test_a_line_gives_its_seal_back() -> None:
    for seal in SEALS:
        assert seal_of(line_of(seal).removesuffix(b"\n")) == seal


def test_what_is_published_is_read_and_publishing_again_changes_nothing(file: SealFile) -> None:
    assert file.read().notes == (f"there is no {file.path} yet",)
    assert publish_missing(file, SEALS[:3]) == 3
    assert publish_missing(file, SEALS) == 5
    content = file.path.read_bytes()
    assert publish_missing(file, SEALS) == 0
    file.publish(SEALS)
    assert file.path.read_bytes() == content == b"".join(map(line_of, SEALS))
    published = file.read()
    assert (published.problems, published.notes) == ((), ())
    assert [(i, s.seal_id, s.sha256, s.leaves) for i, s in published.seals.items()] == [
        (s.seal_id, s.seal_id, s.sha256, s.leaves) for s in SEALS
    ]


@settings(max_examples=150)
@given(data=st.data())
def test_any_order_of_publishing_and_crashes_ends_with_every_seal_and_nothing_lost(data: st.DataObject) -> None:
    """A crash leaves the file before the write and any part of what was written, or zeros in its place."""
    with tempfile.TemporaryDirectory() as folder:
        file = SealFile(path=Path(folder) / "seals.jsonl")
        for _ in range(data.draw(st.integers(0, 6))):
            before = file.path.read_bytes() if file.path.exists() else b""
            whole = len(file.read().seals)
            publish_missing(file, SEALS[: data.draw(st.integers(0, len(SEALS)))])
            after = file.path.read_bytes() if file.path.exists() else b""
            assert after.startswith(before)
            if data.draw(st.booleans()):
                kept = data.draw(st.integers(len(before), len(after)))
                zeros = data.draw(st.sampled_from([0, 0, min(3, len(after) - kept)]))
                file.path.parent.mkdir(exist_ok=True)
                file.path.write_bytes(after[:kept] + b"\0" * zeros)
            published = file.read()
            assert published.problems == ()
            assert len(published.seals) >= whole
        publish_missing(file, SEALS)
        published = file.read()
        assert published.problems == ()
        assert {i: s.sha256 for i, s in published.seals.items()} == {s.seal_id: s.sha256 for s in SEALS}
        assert all("written again" in note or "repeats" in note for note in published.notes)


@pytest.mark.parametrize("kept", [1, 20, -2, -1])
def test_a_last_line_that_a_crash_has_cut_is_a_note_and_stays_as_evidence(file: SealFile, kept: int) -> None:
    file.publish(SEALS[:2])
    cut = line_of(SEALS[2])[:kept]
    file.path.write_bytes(file.path.read_bytes() + cut)
    published = file.read()
    assert list(published.seals) == [0, 1]
    assert published.problems == ()
    assert published.notes == (f"{file.path}:3 was cut by a crash; publishing again writes it in full",)
    assert publish_missing(file, SEALS[:4]) == 2
    assert lines_in(file)[2:] == [cut + b"\n", line_of(SEALS[2]), line_of(SEALS[3])]
    published = file.read()
    assert list(published.seals) == [0, 1, 2, 3]
    assert published.problems == ()
    assert len(published.notes) == 1


def test_a_crash_that_took_a_newline_and_a_crash_within_the_repetition_are_notes(file: SealFile) -> None:
    file.publish(SEALS[:3])
    file.path.write_bytes(file.path.read_bytes()[:-1])
    file.publish(SEALS[:3])
    whole = b"".join(map(line_of, SEALS[:3]))
    file.path.write_bytes(file.path.read_bytes()[: len(whole) + 12])
    assert publish_missing(file, SEALS[:4]) == 1
    published = file.read()
    assert (list(published.seals), published.problems) == ([0, 1, 2, 3], ())
    assert published.notes == (f"{file.path}:4 was cut by a crash and repeats {file.path}:3",)


def edited(at: int, old: bytes, new: bytes) -> Callable[[list[bytes]], None]:
    def edit(lines: list[bytes]) -> None:
        assert old in lines[at]
        lines[at] = lines[at].replace(old, new)

    return edit


def swapped(lines: list[bytes]) -> None:
    lines[2], lines[3] = lines[3], lines[2]


def removed(lines: list[bytes]) -> None:
    del lines[2]


def doubled(lines: list[bytes]) -> None:
    lines.insert(3, line_of(resealed(SEALS[2], first_event=99)))


def rewritten(lines: list[bytes]) -> None:
    lines[2] = line_of(resealed(SEALS[2], first_event=99))


def other_leaves(lines: list[bytes]) -> None:
    fields = json.loads(lines[2])
    fields["leaves"] = base64.b64encode(SEALS[3].leaves).decode()
    lines[2] = json.dumps(fields, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (edited(2, b"2026-01-04", b"2026-01-05"), "3: the header of seal 2 does not give its sha256"),
        (edited(2, b'"num_events":3', b'"num_events":4'), "3: the header of seal 2 does not give its sha256"),
        (edited(2, b'"num_events":3', b'"num_events": 3'), "3 is not the line of a seal as LDTM writes it"),
        (edited(2, b'"num_events":3', b'"num_events":true'), "3 is not the line of a seal as LDTM writes it"),
        (edited(2, b'"seal_id":2', b'"seal_id":99999999999999999999'), "3 is not the line of a seal as LDTM writes"),
        (edited(2, b'{"seal_id":2', b'{"seal_id":7,"seal_id":2'), "3 is not the line of a seal as LDTM writes it"),
        (edited(7, b'{"seal_id":7', b'{"seal":7'), "8 is not the line of a seal as LDTM writes it"),
        (edited(2, b"\n", b"x\n"), "3 is not the line of a seal as LDTM writes it"),
        (swapped, "3: seal 3 is where seal 2 belongs"),
        (removed, "3: seal 3 is where seal 2 belongs"),
        (doubled, "4 holds another seal 2 than a line before it"),
        (rewritten, "4: the previous_sha256 of seal 3 is not the sha256 before it"),
        (other_leaves, "3: the leaves of seal 2 do not give its merkle_root"),
    ],
)
def test_an_edited_file_is_a_problem_that_names_the_line(
    file: SealFile, tamper: Callable[[list[bytes]], None], said: str
) -> None:
    file.publish(SEALS)
    lines = lines_in(file)
    tamper(lines)
    file.path.write_bytes(b"".join(lines))
    problems = file.read().problems
    assert problems[0].startswith(f"{file.path}:{said}")
    assert problems[0].endswith(COMPARE)


@settings(max_examples=200)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_no_byte_of_a_file_can_be_changed_unnoticed(at: int, byte: int) -> None:
    whole = b"".join(map(line_of, SEALS[:3]))
    at %= len(whole)
    altered = whole[:at] + bytes([byte]) + whole[at + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        file = SealFile(path=Path(folder) / "seals.jsonl")
        file.path.write_bytes(altered)
        published = file.read()
    unharmed = published.problems == () and len(published.seals) == 3
    assert unharmed == (altered == whole)


def test_a_line_lost_in_the_middle_is_refused_and_holds_nothing_newer_back(file: SealFile) -> None:
    file.publish(SEALS[:5])
    lines = lines_in(file)
    lines[2] = b"lost\n"
    file.path.write_bytes(b"".join(lines))
    with pytest.raises(PublicationFailed, match="seal 2 is missing before newer ones, where it cannot be added"):
        publish_missing(file, SEALS)
    assert list(file.read().seals) == [0, 1, 3, 4, 5, 6, 7]
    assert lines_in(file)[2] == b"lost\n"


def test_a_chain_that_was_written_again_is_not_published_over_the_first(file: SealFile) -> None:
    file.publish(SEALS[:3])
    before = file.path.read_bytes()
    other = chain(6, world="rewritten")
    with pytest.raises(PublicationFailed, match="seal 3 in the database does not follow what was published as seal 2"):
        publish_missing(file, other)
    assert file.path.read_bytes() == before


def test_a_seal_whose_header_does_not_give_its_hash_is_not_published(file: SealFile) -> None:
    with pytest.raises(PublicationFailed, match="seal 0 in the database does not give its sha256"):
        file.publish([dataclasses.replace(SEALS[0], first_event=5)])
    assert file.path.read_bytes() == b""


def test_a_file_that_cannot_be_written_or_read_says_which_and_why(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    below = SealFile(path=tmp_path / "a file" / "seals.jsonl")
    with pytest.raises(PublicationFailed, match=r"seals\.jsonl cannot be appended to: .*; make room or make it writ"):
        below.publish(SEALS)
    folder = SealFile(path=tmp_path)
    assert folder.read().problems == (f"{tmp_path} cannot be read: Is a directory; make it readable",)


def test_a_disk_that_is_full_is_said_and_what_it_cut_is_mended_the_next_time(file: SealFile) -> None:
    file.publish(SEALS[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.path.stat().st_size + 100, hard))
    try:
        with pytest.raises(
            PublicationFailed, match=r"cannot be appended to: only 100 of \d+ bytes were written; make room"
        ):
            file.publish(SEALS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert list(file.read().seals) == [0, 1]
    assert publish_missing(file, SEALS) == 6
    assert list(file.read().seals) == list(range(8))
    assert file.read().problems == ()


PUBLISHER = """
import sys
from pathlib import Path
from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.seal_file import SealFile
from tests.integration.audit.publications.chains import chain

seals = chain(int(sys.argv[2]), num_events=int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
for upto in range(1, len(seals) + 1):
    publish_missing(SealFile(path=Path(sys.argv[1])), seals[:upto])
"""


def publisher(path: Path, num_seals: int, num_events: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(path), str(num_seals), str(num_events)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def go(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def test_a_process_killed_while_it_publishes_leaves_a_file_that_the_next_one_goes_on_with(tmp_path: Path) -> None:
    path, seals, chance = tmp_path / "seals.jsonl", chain(60, num_events=400), random.Random(1)
    killed = 0
    for _ in range(6):
        process = publisher(path, len(seals), 400)
        go(process)
        time.sleep(chance.uniform(0.01, 0.2))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.communicate()
        published = SealFile(path=path).read()
        assert published.problems == ()
    assert killed >= 3
    publish_missing(SealFile(path=path), seals)
    published = SealFile(path=path).read()
    assert published.problems == ()
    assert [s.sha256 for s in published.seals.values()] == [s.sha256 for s in seals]


def test_two_processes_at_once_neither_double_nor_mix_their_lines(tmp_path: Path) -> None:
    path, seals = tmp_path / "seals.jsonl", chain(40, num_events=400)
    processes = [publisher(path, len(seals), 400) for _ in range(3)]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert path.read_bytes() == b"".join(map(line_of, seals))


def test_a_reader_waits_for_a_writer(file: SealFile) -> None:
    file.publish(SEALS[:1])
    with file.path.open("ab", buffering=0) as writing, ThreadPoolExecutor() as threads:
        fcntl.flock(writing, fcntl.LOCK_EX)
        reading = threads.submit(file.read)
        writing.write(line_of(SEALS[1])[:50])
        with pytest.raises(TimeoutError):
            reading.result(timeout=0.2)
        writing.write(line_of(SEALS[1])[50:])
        fcntl.flock(writing, fcntl.LOCK_UN)
        assert reading.result().notes == ()
