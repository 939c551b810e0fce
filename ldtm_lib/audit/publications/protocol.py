"""What every publication of the seals can do: say what it holds, and take what it has not got yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from ldtm_lib.audit.seal import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSeal:
    """A seal as a publication holds it."""

    seal_id: int
    sha256: bytes
    session: date | None = None
    """Of the seal, where the publication keeps it."""
    leaves: bytes | None = None
    """Of its events one after the other, where the publication keeps them."""
    published_at: datetime | None = None
    """When the publication took it by its own clock, where it says so."""
    stamped_at: datetime | None = None
    """When a time stamp authority saw its SHA-256, by the authority's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publication holds."""

    seals: Mapping[int, PublishedSeal]
    problems: tuple[str, ...] = ()
    """Evidence of tampering or damage, each a sentence with the place and the remedy."""
    notes: tuple[str, ...] = ()
    """Worth knowing, and no failure."""
    witness: str | None = None
    """Whose clock gives the moments of its seals; None where it has none."""


class Publication(Protocol):
    """A place outside of the database that seals are published in."""

    @property
    def name(self) -> str:
        """What it is, and where: `file /srv/ldtm/seals.jsonl`."""
        ...

    def read(self) -> Published:
        """What it holds, all of it checked; problems are returned, not raised."""
        ...

    def publish(self, seals: Sequence[Seal]) -> None:
        """Add seals in order and deliver what an earlier failure left waiting; those already there stay as they are.

        Raises PublicationFailed; what was added before the failure stays.
        """
        ...


def publish_missing(publication: Publication, seals: Sequence[Seal]) -> int:
    """Publish those of the seals whose number is not there yet; returns how many. Doing it again changes nothing.

    A seal that is there with another SHA-256 is left alone: it is evidence, which a verifier shows.
    Raises PublicationFailed.
    """
    there = publication.read().seals
    missing = [seal for seal in seals if seal.seal_id not in there]
    publication.publish(missing)
    return len(missing)
