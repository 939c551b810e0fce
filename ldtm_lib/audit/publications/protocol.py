"""Interface of every publication of the seals: reading the seals that it holds, and adding those that it lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from ldtm_lib.audit.seal import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSeal:
    """A seal with the values that a publication has."""

    seal_id: int
    sha256: bytes
    session: date | None = None
    """Session of the seal, if the publication keeps it."""
    leaves: bytes | None = None
    """Leaves of its events one after the other, if the publication keeps them."""
    published_at: datetime | None = None
    """Time at which the publication received it by its own clock, if the publication states it."""
    stamped_at: datetime | None = None
    """Time at which a time stamp authority saw its SHA-256, by the authority's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The content of a publication."""

    seals: Mapping[int, PublishedSeal]
    problems: tuple[str, ...] = ()
    """Evidence of tampering or damage, each a sentence with the place and the remedy."""
    notes: tuple[str, ...] = ()
    """Remarks that are not failures."""
    witness: str | None = None
    """The clock that gives the moments of its seals; None if it has none."""


class Publication(Protocol):
    """A place outside of the database where seals are published."""

    @property
    def name(self) -> str:
        """Kind and place of the publication: `file /srv/ldtm/seals.jsonl`."""
        ...

    def read(self) -> Published:
        """The content of the publication, all of it checked; problems are returned, not raised."""
        ...

    def publish(self, seals: Sequence[Seal]) -> None:
        """Add seals in order and deliver those that an earlier failure left behind; seals already there stay as they
        are.

        Raises PublicationFailed; seals that were added before the failure stay.
        """
        ...


def publish_missing(publication: Publication, seals: Sequence[Seal]) -> int:
    """Publish the seals whose number is not there yet; returns their number. Repeating it changes nothing.

    A seal that is there with another SHA-256 is left alone: it is evidence, which a verifier shows.
    Raises PublicationFailed.
    """
    there = publication.read().seals
    missing = [seal for seal in seals if seal.seal_id not in there]
    publication.publish(missing)
    return len(missing)
