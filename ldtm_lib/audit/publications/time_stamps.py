"""Time stamps of seals by an authority that the owner of the database does not control (RFC 3161).

A token is kept as the authority sent it, so that `openssl ts -verify` checks it too. It is verified as of its own time:
certificates that have expired since then still count.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, Verifier

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.audit.publications.protocol import Published, PublishedSeal
from ldtm_lib.audit.publications.time_stamp_request import ask
from ldtm_lib.audit.publications.time_stamp_token import InvalidToken, Stamp, root_names, verified, verifier_of
from ldtm_lib.audit.seal import Seal
from ldtm_lib.errors import PublicationFailed
from ldtm_lib.wording import moment_texts

_TOKEN_NAME = re.compile(r"(\d+)-([0-9a-f]{16})\.tsr")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStamps:
    """The tokens in a folder, and the authority that issues more of them."""

    url: str
    certificates: Path
    """PEM file with the authority's root, and with the intermediates that its tokens lack."""
    folder: Path
    timeout_seconds: float

    @property
    def name(self) -> str:
        """The authority and the folder."""
        return f"time stamps by {self.url} in {self.folder}"

    def read(self) -> Published:
        """Read and verify every token. The SHA-256 of its seal is that in the token, whatever the file's name says."""
        seals: dict[int, PublishedSeal] = {}
        problems: list[str] = []
        names = {path: _TOKEN_NAME.fullmatch(path.name) for path in self.folder.glob("*.tsr")}
        notes = [f"{path} is not named like a token and is not read" for path, name in names.items() if not name]
        tokens = sorted(((int(name[1]), name[2], path) for path, name in names.items() if name), key=lambda t: t[:2])
        if not tokens:
            return Published(seals={}, notes=(*notes, f"there is no time stamp in {self.folder} yet"))
        try:
            verifier = verifier_of(self.certificates)
        except PublicationFailed as error:
            return Published(seals={}, problems=(str(error),), notes=tuple(notes))
        signers: set[str] = set()
        for seal_id, begin, path in tokens:
            try:
                stamp = verified(path.read_bytes(), verifier)
            except OSError as error:
                problems.append(f"{path} cannot be read: {error.strerror}; make it readable")
                continue
            except InvalidToken as error:
                problems.append(f"{path} {error}; restore it from a copy, or move it away and publish again")
                continue
            if not stamp.sha256.hex().startswith(begin):
                problems.append(f"{path} stamps {stamp.sha256.hex()}, not what its name says; restore its name")
            signers.add(stamp.signer)
            seal = PublishedSeal(seal_id=seal_id, sha256=stamp.sha256, stamped_at=stamp.stamped_at)
            other = seals.setdefault(seal_id, seal)
            if other.sha256 != seal.sha256:
                assert other.stamped_at is not None
                here, there = moment_texts(stamp.stamped_at, other.stamped_at)
                problems.append(
                    f"{path} stamps a seal {seal_id} at {here}, and another one with the sha256 {other.sha256.hex()} "
                    f"is stamped at {there}: the chain was written twice; verify the record against both"
                )
                seals[seal_id] = min(seal, other, key=_stamping)
        witness = (
            f"the authority whose root is {root_names(self.certificates)}; signed by certificates of "
            f"{', '.join(sorted(signers))}"
        )
        return Published(seals=seals, problems=tuple(problems), notes=tuple(notes), witness=witness)

    def publish(self, seals: Sequence[Seal]) -> None:
        """Request a token per seal and keep those that verify.

        Raises PublicationFailed at the first failure; tokens that were kept before it stay. An existing file that is
        not a valid token is evidence: it stays, and is reported after all other seals.
        """
        if not seals:
            return
        verifier = verifier_of(self.certificates)
        damaged: list[str] = []
        for seal in seals:
            path = self.folder / f"{seal.seal_id}-{seal.sha256.hex()[:16]}.tsr"
            try:
                if path.exists():
                    verified(path.read_bytes(), verifier)
                    continue
                reply = self._token(seal, verifier)
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(path, reply)
            except InvalidToken as error:
                damaged.append(f"{path} {error}; restore it from a copy, or move it away and publish again")
            except OSError as error:
                raise PublicationFailed(
                    f"{path} cannot be written: {error.strerror}; make room or make it writable, and publish again"
                ) from None
        if damaged:
            raise PublicationFailed(damaged[0])

    def moment(self) -> datetime:
        """The authority's time, by a stamp of random bytes that is not kept. Raises PublicationFailed."""
        _, stamp = self._stamp(os.urandom(32), verifier_of(self.certificates))
        return stamp.stamped_at

    def _token(self, seal: Seal, verifier: Verifier) -> bytes:
        """A reply that stamps the seal, made for this one request."""
        if seal.expected_sha256 != seal.sha256:
            raise PublicationFailed(
                f"the header of seal {seal.seal_id} in the database does not give its sha256; verify the record"
            )
        return self._stamp(seal.canonical, verifier)[0]

    def _stamp(self, data: bytes, verifier: Verifier) -> tuple[bytes, Stamp]:
        """Request a stamp of some bytes; returns the reply, and the verified stamp. Raises PublicationFailed."""
        request = TimestampRequestBuilder(data=data, hash_algorithm=HashAlgorithm.SHA256).build()
        reply = ask(self.url, request.as_bytes(), timeout_seconds=self.timeout_seconds)
        try:
            stamp = verified(reply, verifier)
        except InvalidToken as error:
            raise PublicationFailed(
                f"the reply of {self.url} {error}; nothing is kept, try again or check publish.timestamp_certificates"
            ) from None
        asked = hashlib.sha256(data).digest()
        if stamp.sha256 != asked:
            raise PublicationFailed(
                f"{self.url} stamps {stamp.sha256.hex()} where {asked.hex()} was requested; nothing is kept, try again"
            )
        if stamp.nonce != request.nonce:
            raise PublicationFailed(f"{self.url} sent the reply to another request: its nonce differs; try again")
        return reply, stamp


def _stamping(seal: PublishedSeal) -> tuple[str, bytes]:
    return (str(seal.stamped_at), seal.sha256)
