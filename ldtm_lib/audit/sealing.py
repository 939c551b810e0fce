"""Sealing: seal the events of a daily run, read the seals, and publish them outside of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from ldtm_lib.audit.publications.protocol import Publication, publish_missing
from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.audit.seal import Seal
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.errors import PublicationFailed
from ldtm_lib.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingReport:
    """The result of sealing and publishing."""

    newest: Seal | None
    """The newest seal; None for a record without seals."""
    is_new: bool
    """True if there were events since the seal before, so that there is a new one."""
    published: Mapping[str, int]
    """Number of seals that each publication received, by its name."""
    failures: Mapping[str, str]
    """Reason why a publication did not receive the seals that it lacks; they are sent again with the next seal."""

    @property
    def outcome(self) -> str:
        """What was sealed, without the SHA-256."""
        if self.newest is None:
            return "there is nothing to seal yet"
        seal = f"seal {self.newest.seal_id} of {self.newest.session}"
        if not self.is_new:
            return f"nothing happened since {seal}"
        return f"sealed {counted(self.newest.num_events, 'event')} as {seal}"

    @property
    def summary(self) -> str:
        """One line for the log."""
        sha256 = f", {self.newest.sha256.hex()}" if self.newest and self.is_new else ""
        where = "; ".join(f"{name}: {number} published" for name, number in self.published.items() if number)
        return self.outcome + sha256 + (f"; {where}" if where else "")


def create_seal(conn: Connection) -> int | None:
    """Seal every event since the last seal, computed by the database; returns the seal's number, None without events.

    Waits for transactions that are writing events.
    """
    row = conn.execute(query("audit.close")).fetchone()
    return None if row is None else row[0]


def read_seals(conn: Connection, *, first: int = 0) -> list[Seal]:
    """The seals from a number on, each with the leaves of its events: 32 bytes an event."""
    with conn.cursor(row_factory=class_row(Seal)) as cursor:
        return cursor.execute(query("audit.seals"), {"first": first}, binary=True).fetchall()


def fork_of(conn: Connection, file: SealFile) -> str | None:
    """The contradiction between a record and the file of its seals, whose contents are not checked; None if none."""
    own = dict(conn.execute(query("audit.seal_hashes"), binary=True).fetchall())
    return contradiction(file.hashes(), own)


def contradiction(published: Mapping[int, bytes], own: Mapping[int, bytes]) -> str | None:
    """The first published seal that the database lacks or has with another SHA-256, and the remedy; None if none."""
    wrong = [number for number, sha256 in sorted(published.items()) if own.get(number) != sha256]
    if not wrong:
        return None
    first, newest = wrong[0], f"seal {max(own)}" if own else "no seal"
    here = f"is {own[first].hex()[:16]}... in the database" if first in own else f"the database ends with {newest}"
    return (
        f"seal {first} was published as {published[first].hex()[:16]}... and {here}: the database was restored from an "
        "older backup, or one of the two was altered. Nothing is sealed or published until they agree; see `ldtm audit "
        "verify` and the section about restores in docs/operations.md"
    )


def seal_and_publish(database: Database, publications: Sequence[Publication]) -> SealingReport:
    """Seal every event since the last seal, and publish every seal that a publication lacks.

    Each step can be interrupted and repeated: events wait for the next seal, seals for the next publishing. A failing
    publication does not affect the others. If one holds other seals than the database, as after the restore of an older
    backup, nothing is sealed and nothing is published: the chain would be forked permanently.
    """
    outside = {publication.name: publication.read().seals for publication in publications}
    with database.transaction() as conn:
        chain = read_seals(conn)
    own = {seal.seal_id: seal.sha256 for seal in chain}
    found = {name: contradiction({n: seal.sha256 for n, seal in seals.items()}, own) for name, seals in outside.items()}
    if forked := {name: reason for name, reason in found.items() if reason is not None}:
        return SealingReport(newest=chain[-1] if chain else None, is_new=False, published={}, failures=forked)
    with database.transaction() as conn:
        new = create_seal(conn)
    with database.transaction() as conn:
        chain += read_seals(conn, first=len(chain))
    published: dict[str, int] = {}
    failures: dict[str, str] = {}
    for publication in publications:
        try:
            published[publication.name] = publish_missing(publication, chain)
        except PublicationFailed as failed:
            failures[publication.name] = str(failed)
    return SealingReport(
        newest=chain[-1] if chain else None, is_new=new is not None, published=published, failures=failures
    )
