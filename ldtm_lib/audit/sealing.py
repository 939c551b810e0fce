"""The end of an evening: seal what happened, and publish the seal outside of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldtm_lib.audit import seals
from ldtm_lib.audit.publications.protocol import Publication, publish_missing
from ldtm_lib.audit.seal import Seal
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import PublicationFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What the end of an evening left."""

    newest: Seal | None
    """The newest seal there is; None for a record without any."""
    is_new: bool
    """Whether anything happened since the seal before, so that there is a new one."""
    published: Mapping[str, int]
    """How many seals each publication took, by its name."""
    failures: Mapping[str, str]
    """Why a publication did not take what it lacks; it is tried again with the next seal."""

    @property
    def line(self) -> str:
        """What happened, in a line of the log."""
        if self.newest is None:
            return "there is nothing to seal yet"
        seal = self.newest
        what = (
            f"sealed {seal.num_events} events as seal {seal.seal_id} of {seal.evening}, {seal.sha256.hex()}"
            if self.is_new
            else f"nothing happened since seal {seal.seal_id} of {seal.evening}"
        )
        where = "; ".join(f"{name}: {number} published" for name, number in self.published.items() if number)
        return what + (f"; {where}" if where else "")


def close_evening(database: Database, publications: Sequence[Publication]) -> Closing:
    """Seal every event since the last seal and publish every seal that a publication lacks.

    Each step can be cut off and done again: events wait for the next seal, seals for the next publishing. A publication
    that fails takes nothing from the others.
    """
    with database.transaction() as conn:
        new = seals.close(conn)
    with database.transaction() as conn:
        chain = seals.read(conn)
    published: dict[str, int] = {}
    failures: dict[str, str] = {}
    for publication in publications:
        try:
            published[publication.name] = publish_missing(publication, chain)
        except PublicationFailed as failed:
            failures[publication.name] = str(failed)
    return Closing(newest=chain[-1] if chain else None, is_new=new is not None, published=published, failures=failures)
