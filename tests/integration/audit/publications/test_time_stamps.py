"""Time stamps by a real authority, and what its faults and altered tokens come to."""

import dataclasses
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.time_stamp_token import InvalidToken, verified, verifier_of, with_certificates_in_order
from ldtm_lib.audit.publications.time_stamps import TimeStamps
from ldtm_lib.errors import PublicationFailed
from tests.integration.audit.publications.chains import chain
from tests.integration.audit.publications.time_stamp_authority import Fault, TimeStampAuthority, needs_openssl

pytestmark = needs_openssl
SEALS = chain(4)
HINT = "try again, or check publish.timestamp_url"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimeStampAuthority]:
    with TimeStampAuthority(tmp_path_factory.mktemp("authority")) as authority:
        yield authority


@pytest.fixture
def authority(running: TimeStampAuthority) -> Iterator[TimeStampAuthority]:
    yield running
    running.fault = None


@pytest.fixture
def stamps(authority: TimeStampAuthority, tmp_path: Path) -> TimeStamps:
    return authority.time_stamps(tmp_path / "tokens")


def token(stamps: TimeStamps, seal_id: int) -> Path:
    return stamps.folder / f"{seal_id}-{SEALS[seal_id].sha256.hex()[:16]}.tsr"


def test_what_is_stamped_is_read_with_its_time_and_asked_for_once(
    stamps: TimeStamps, authority: TimeStampAuthority
) -> None:
    assert stamps.read().notes == (f"there is no time stamp in {stamps.folder} yet",)
    began = datetime.now(UTC).replace(microsecond=0)
    assert publish_missing(stamps, SEALS[:2]) == 2
    assert publish_missing(stamps, SEALS) == 2
    num_asked = authority.num_asked
    assert publish_missing(stamps, SEALS) == 0
    stamps.publish(SEALS)
    assert authority.num_asked == num_asked
    published = stamps.read()
    assert (published.problems, published.notes) == ((), ())
    assert [(s.seal_id, s.sha256, s.leaves) for s in published.seals.values()] == [
        (s.seal_id, s.sha256, None) for s in SEALS
    ]
    for seal in published.seals.values():
        assert seal.stamped_at is not None
        assert began <= seal.stamped_at <= datetime.now(UTC)
    assert sorted(path.name for path in stamps.folder.iterdir()) == [token(stamps, n).name for n in range(4)]


def test_openssl_verifies_the_same_files_without_ldtm(stamps: TimeStamps) -> None:
    stamps.publish(SEALS[:1])
    digest = ("-digest", SEALS[0].sha256.hex())
    command = ["openssl", "ts", "-verify", "-in", str(token(stamps, 0)), *digest, "-CAfile", str(stamps.certificates)]
    assert "Verification: OK" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("hangs", "has not answered within 0.5 s; try again, or raise publish.timestamp_timeout_seconds"),
        ("drips", "has not answered within 0.5 s; try again, or raise publish.timestamp_timeout_seconds"),
        ("hangs up", f"cannot be reached: Remote end closed connection without response; {HINT}"),
        ("answers HTML", "answers with text/html, not application/timestamp-reply; check publish.timestamp_url"),
        ("answers 500", f"answers HTTP 500 Internal Server Error; {HINT}"),
        ("redirects", f"answers HTTP 501 Unsupported method ('GET'); {HINT}"),
        ("answers too much", f"cannot be reached: the reply has more than 1048576 bytes; {HINT}"),
        ("answers nonsense", "does not verify: ASN.1 parse error"),
        ("answers an empty reply", "does not verify: ASN.1 parse error"),
        ("rejects", "grants no time stamp (status 2): Message digest algorithm is not supported.; nothing is kept"),
        ("stamps another imprint", "was requested; nothing is kept"),
        ("answers another request", "sent the reply to another request: its nonce differs; try again"),
        ("is signed by a stranger", "does not verify: Error while verifying certificates"),
        ("alters its signature", "does not verify: Error while verifying certificates"),
    ],
)
def test_a_fault_of_the_authority_is_reported_and_nothing_is_kept(
    authority: TimeStampAuthority, tmp_path: Path, fault: Fault, said: str
) -> None:
    stamps = authority.time_stamps(tmp_path / "tokens", timeout_seconds=0.5 if fault in {"hangs", "drips"} else 5)
    (authority.folder / "wanted").write_bytes(SEALS[0].canonical)
    authority.fault = fault
    began = time.monotonic()
    with pytest.raises(PublicationFailed) as failed:
        publish_missing(stamps, SEALS)
    assert authority.url in str(failed.value)
    assert said in str(failed.value)
    assert time.monotonic() - began < 4
    assert not stamps.folder.exists()
    authority.fault = None
    assert publish_missing(stamps, SEALS) == 4
    assert stamps.read().problems == ()


def test_an_authority_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with TimeStampAuthority(tmp_path / "authority") as authority:
        stamps = authority.time_stamps(tmp_path / "tokens")
    with pytest.raises(PublicationFailed, match=r"cannot be reached: .*Connection refused; try again, or check"):
        publish_missing(stamps, SEALS)
    for url in ("http://no.invalid/tsr", "http://.example.org/tsr", "http://example.org:x y/tsr"):
        nobody = dataclasses.replace(stamps, url=url)
        with pytest.raises(PublicationFailed, match=r"cannot be reached: "):
            publish_missing(nobody, SEALS)


def test_what_was_stamped_before_a_failure_is_kept(
    stamps: TimeStamps, authority: TimeStampAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = authority.reply

    def once(query: bytes, signer: str = "signer") -> bytes:
        authority.fault = "answers 500"
        return reply(query, signer)

    monkeypatch.setattr(authority, "reply", once)
    with pytest.raises(PublicationFailed, match="answers HTTP 500"):
        publish_missing(stamps, SEALS)
    assert list(stamps.read().seals) == [0]


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_an_altered_token_never_says_anything_else_than_it_did(stamps: TimeStamps) -> None:
    """Not all of a token is signed: with the rest altered, such as its copy of the root, it still says the same."""
    stamps.publish(SEALS[:1])
    whole, verifier = token(stamps, 0).read_bytes(), verifier_of(stamps.certificates)
    truth = verified(whole, verifier)
    refused: set[int] = set()
    for at, flip in itertools.product(range(len(whole)), (0x01, 0x80)):
        altered = bytearray(whole)
        altered[at] ^= flip
        try:
            assert verified(bytes(altered), verifier) == truth
        except InvalidToken:
            refused.add(at)
    imprint, moment = whole.index(truth.sha256), whole.index(f"{truth.stamped_at:%Y%m%d%H%M%S}".encode())
    assert refused >= {*range(imprint, imprint + 32), *range(moment, moment + 14), *range(len(whole) - 60, len(whole))}


def test_an_altered_cut_or_strange_token_is_a_problem_that_names_it(
    stamps: TimeStamps, authority: TimeStampAuthority
) -> None:
    publish_missing(stamps, SEALS)
    first, second, third, fourth = (token(stamps, seal_id) for seal_id in range(4))
    first.write_bytes(first.read_bytes()[:-1] + b"\x00")
    second.write_bytes(second.read_bytes()[:500])
    third.write_bytes(authority.reply(authority.query(SEALS[2].canonical), "stranger"))
    fourth.write_bytes(b"")
    (stamps.folder / "mine.tsr").write_bytes(b"")
    published = stamps.read()
    assert published.seals == {}
    assert published.notes == (f"{stamps.folder / 'mine.tsr'} is not named like a token and is not read",)
    assert len(published.problems) == 4
    for path, problem in zip((first, second, third, fourth), published.problems, strict=True):
        assert problem.startswith(f"{path} does not verify: ")
        assert problem.endswith("; restore it from a copy, or move it away and publish again")


def test_a_damaged_token_stays_as_evidence_and_holds_no_other_one_back(stamps: TimeStamps) -> None:
    publish_missing(stamps, SEALS[:2])
    token(stamps, 0).write_bytes(b"damaged")
    with pytest.raises(PublicationFailed, match=r"0-\w+\.tsr does not verify: .* move it away and publish again"):
        publish_missing(stamps, SEALS)
    assert list(stamps.read().seals) == [1, 2, 3]
    token(stamps, 0).rename(stamps.folder / "aside")
    assert publish_missing(stamps, SEALS) == 1
    assert (list(stamps.read().seals), stamps.read().problems) == ([0, 1, 2, 3], ())


def test_a_folder_that_cannot_be_written_to_says_so(authority: TimeStampAuthority, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(PublicationFailed, match=r"\.tsr cannot be written: .*; make room or make it writable"):
        publish_missing(authority.time_stamps(tmp_path / "a file" / "tokens"), SEALS)


def test_a_token_of_another_kind_of_hash_is_a_problem(stamps: TimeStamps, authority: TimeStampAuthority) -> None:
    stamps.folder.mkdir()
    token(stamps, 0).write_bytes(authority.reply(authority.query(SEALS[0].canonical, "sha512")))
    assert stamps.read().seals == {}
    assert "stamps a hash of 2.16.840.1.101.3.4.2.3, not a SHA-256; restore it" in stamps.read().problems[0]


def test_a_seal_whose_header_does_not_give_its_hash_is_not_stamped(
    stamps: TimeStamps, authority: TimeStampAuthority
) -> None:
    num_asked = authority.num_asked
    with pytest.raises(PublicationFailed, match="seal 0 in the database does not give its sha256; verify the record"):
        stamps.publish([dataclasses.replace(SEALS[0], first_event=5)])
    assert authority.num_asked == num_asked


def test_the_hash_is_the_tokens_own_whatever_its_name_says(stamps: TimeStamps) -> None:
    publish_missing(stamps, SEALS[:2])
    token(stamps, 1).rename(token(stamps, 2))
    published = stamps.read()
    assert published.seals[2].sha256 == SEALS[1].sha256
    assert published.problems == (
        f"{token(stamps, 2)} stamps {SEALS[1].sha256.hex()}, not what its name says; restore its name",
    )


def test_two_tokens_for_one_seal_show_that_the_chain_was_written_twice(stamps: TimeStamps) -> None:
    stamps.publish(SEALS[:1])
    stamps.publish(chain(1, world="rewritten"))
    published = stamps.read()
    assert len(published.problems) == 1
    assert "the chain was written twice; verify the record against both" in published.problems[0]


def test_a_token_outlives_its_certificates_and_none_is_accepted_from_expired_ones(tmp_path: Path) -> None:
    with TimeStampAuthority(tmp_path / "authority", lifetime=timedelta(seconds=5)) as authority:
        stamps = authority.time_stamps(tmp_path / "tokens")
        publish_missing(stamps, SEALS[:1])
        time.sleep(5.5)
        published = stamps.read()
        assert (published.problems, list(published.seals)) == ((), [0])
        with pytest.raises(PublicationFailed, match="certificate has expired"):
            publish_missing(stamps, SEALS)


def test_certificates_in_any_order_are_put_in_the_one_of_der(stamps: TimeStamps) -> None:
    stamps.publish(SEALS[:1])
    reply, verifier = token(stamps, 0).read_bytes(), verifier_of(stamps.certificates)
    ordered = with_certificates_in_order(reply)
    parts = _certificates(ordered)
    assert len(parts) == 3
    assert parts == sorted(parts)
    whole = b"".join(parts)
    for order in itertools.permutations(parts):
        shuffled = ordered.replace(whole, b"".join(order))
        assert with_certificates_in_order(shuffled) == ordered
        assert verified(shuffled, verifier).sha256 == SEALS[0].sha256


def _certificates(reply: bytes) -> list[bytes]:
    """The certificates of a reply, found by their lengths: 30 82 and two bytes each, behind the tag A0 82."""
    at = next(
        i for i in range(50, len(reply)) if reply[i : i + 2] == b"\xa0\x82" and reply[i + 4 : i + 6] == b"\x30\x82"
    )
    end = at + 4 + int.from_bytes(reply[at + 2 : at + 4])
    at += 4
    parts: list[bytes] = []
    while at < end:
        size = 4 + int.from_bytes(reply[at + 2 : at + 4])
        parts.append(reply[at : at + size])
        at += size
    return parts


def test_anything_that_is_no_reply_is_left_as_it_is() -> None:
    for content in (b"", b"\x30", b"\x30\x84\xff", b"\x30\x00", b"<html>", os.urandom(200)):
        assert with_certificates_in_order(content) == content


def test_a_file_of_certificates_that_is_missing_empty_or_without_a_root_says_so(
    authority: TimeStampAuthority, tmp_path: Path
) -> None:
    def refusal(certificates: Path) -> str:
        stamps = TimeStamps(url=authority.url, certificates=certificates, folder=tmp_path / "t", timeout_seconds=5)
        with pytest.raises(PublicationFailed) as refused:
            stamps.publish(SEALS)
        return str(refused.value)

    empty, missing, intermediate = (
        tmp_path / "empty.pem",
        tmp_path / "missing.pem",
        authority.folder / "intermediate.pem",
    )
    empty.touch()
    assert refusal(missing).startswith(f"{missing} cannot be read: No such file or directory; put the authority's root")
    assert refusal(empty).startswith(f"{empty} holds no PEM certificates: ")
    assert refusal(intermediate).startswith(f"{intermediate} holds no root, only certificates that others signed")
    stamps = authority.time_stamps(tmp_path / "tokens")
    publish_missing(stamps, SEALS)
    unread = TimeStamps(url=stamps.url, certificates=missing, folder=stamps.folder, timeout_seconds=5).read()
    assert unread.problems[0].startswith(f"{missing} cannot be read: ")
    strange = TimeStamps(url=stamps.url, certificates=authority.strange_root, folder=stamps.folder, timeout_seconds=5)
    assert len(strange.read().problems) == 4
