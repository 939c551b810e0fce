"""The loss caused by a restore: seals and forecasts that the database or a publication has and the archive lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldtm_lib.audit.publications.protocol import Publication
from ldtm_lib.audit.seal import LEAF_BYTES
from ldtm_lib.backup.manifest import Manifest, SealName
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import RestoreRefused
from ldtm_lib.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSeal:
    """A seal that the archive does not have, or has with another SHA-256."""

    seal_id: int
    date: str
    """Of its session, or of its time stamp; empty where the publication states neither."""

    @property
    def name(self) -> str:
        """Such as `7 of 2026-11-20`."""
        return f"{self.seal_id} of {self.date}" if self.date else str(self.seal_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Everything of the record that a restore would lose."""

    seals: tuple[LostSeal, ...] = ()
    """In the order of their numbers."""
    places: tuple[str, ...] = ()
    """Publications that hold such seals."""
    num_events: int = 0
    """In the database."""
    num_forecasts: int = 0
    """Among these events."""
    num_published_events: int = 0
    """In lost seals, if a publication keeps their leaves; the kinds of these events are not published."""

    def __bool__(self) -> bool:
        return bool(self.seals or self.num_events)

    @property
    def summary(self) -> str:
        """The seals by number and date, and the forecasts, for messages."""
        parts: list[str] = []
        if self.seals:
            first, last = self.seals[0], self.seals[-1]
            names = f"seal {first.name}" if first == last else f"{len(self.seals)} seals, {first.name} to {last.name}"
            parts.append(names + (f" (published in {', '.join(self.places)})" if self.places else ""))
        if self.num_events:
            parts.append(
                f"{counted(self.num_events, 'event')} of the database, {self.num_forecasts:,} of them forecasts"
            )
        elif self.num_published_events:
            parts.append(f"{counted(self.num_published_events, 'event')} that the database no longer has")
        return " with ".join(parts)


def published_loss(manifest: Manifest, publications: Sequence[Publication]) -> Loss:
    """The seals in publications that an archive does not have."""
    own = {seal.seal_id: seal.sha256 for seal in manifest.seals}
    seals: dict[int, LostSeal] = {}
    places: list[str] = []
    num_events = 0
    for publication in publications:
        lost = [seal for n, seal in publication.read().seals.items() if own.get(n) != seal.sha256.hex()]
        if lost:
            places.append(publication.name)
            num_events = max(num_events, sum(len(seal.leaves or b"") for seal in lost) // LEAF_BYTES)
        for seal in lost:
            date = seal.session or (seal.stamped_at and seal.stamped_at.date())
            if seal.seal_id not in seals or not seals[seal.seal_id].date:
                seals[seal.seal_id] = LostSeal(seal_id=seal.seal_id, date=str(date or ""))
    return Loss(seals=_in_order(seals), places=tuple(places), num_published_events=num_events)


def expected_loss(manifest: Manifest, conn: Connection) -> Loss:
    """The loss of the record in a database by numbers and seals, before anything is restored."""
    own = {seal.seal_id: seal.sha256 for seal in manifest.seals}
    seals = {seal_id: (session, sha256) for seal_id, session, sha256 in conn.execute(query("backup.seals"))}
    lost = {n: LostSeal(seal_id=n, date=str(day)) for n, (day, sha256) in seals.items() if own.get(n) != sha256}
    row = conn.execute(query("backup.newer_events"), {"num_events": manifest.num_events}).fetchone()
    num_events, num_forecasts = row or (0, 0)
    return Loss(seals=_in_order(lost), num_events=num_events, num_forecasts=num_forecasts)


def actual_loss(conn: Connection) -> Loss:
    """The loss of the earlier record, which the transaction keeps, in comparison with the restored one."""
    row = conn.execute(query("backup.lost_events")).fetchone()
    num_events, num_forecasts = row or (0, 0)
    lost = [LostSeal(seal_id=seal_id, date=str(day)) for seal_id, day, _ in conn.execute(query("backup.lost_seals"))]
    return Loss(seals=tuple(lost), num_events=num_events, num_forecasts=num_forecasts)


def together(published: Loss, recorded: Loss) -> Loss:
    """The loss of publications and of a database as one."""
    seals = {seal.seal_id: seal for seal in (*published.seals, *recorded.seals)}
    return Loss(
        seals=_in_order(seals),
        places=published.places,
        num_events=recorded.num_events,
        num_forecasts=recorded.num_forecasts,
        num_published_events=published.num_published_events,
    )


def require_accepted(loss: Loss, manifest: Manifest, *, accept_loss: bool) -> None:
    """Raise RestoreRefused for a loss that was not accepted."""
    if loss and not accept_loss:
        raise RestoreRefused(
            f"the archive of {manifest.made} ends with {newest_of(manifest.newest_seal)} and "
            f"{counted(manifest.num_events, 'event')}, and is older than the record: the restore would lose "
            f"{loss.summary}. Restore a newer archive; only if there is none, --accept-loss restores this one and "
            "keeps the published seals aside. Nothing was changed"
        )


def newest_of(seal: SealName | None) -> str:
    """The newest seal in words."""
    return "no seal" if seal is None else f"seal {seal.seal_id} of {seal.session}"


def _in_order(seals: Mapping[int, LostSeal]) -> tuple[LostSeal, ...]:
    return tuple(seals[number] for number in sorted(seals))
