"""The asset `seals`: seals published in Dagster's event log, one materialization each."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterError
from sqlalchemy.exc import SQLAlchemyError

from ldtm_assets.partitions import as_a_whole
from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.publications.protocol import Publication, Published, PublishedSeal
from ldtm_lib.audit.seal import Seal
from ldtm_lib.errors import PublicationFailed
from ldtm_lib.project import Project

SEALS = dg.AssetKey("seals")
UNREACHABLE = (SQLAlchemyError, DagsterError, OSError)
"""Exceptions with which Dagster's storage fails."""
NUMBER, SHA256 = "seal", "SHA-256"
SHA256_BYTES = 32
PAGE = 1000


def seals_spec() -> dg.AssetSpec:
    """The asset `seals`; only the step of a daily run and `ldtm audit seal` report materializations of it."""
    return dg.AssetSpec(
        SEALS,
        deps=[dg.AssetDep(name, partition_mapping=as_a_whole()) for name in ("snapshots", "fillbacks", "registry")],
        description="The seal that closes a daily run: one hash over its forecasts, fills and promotions and the "
        "previous seal.",
        group_name="forecasts",
        kinds={"postgres"},
    )


def all_publications(project: Project, instance: dg.DagsterInstance) -> list[Publication]:
    """Every publication of seals: those of the configuration, and Dagster's event log."""
    return [*publications_of(project.settings, project.home), DagsterEventLog(instance)]


class DagsterEventLog:
    """The event log of one Dagster instance. It is in another schema, and can be edited: one witness of several."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    @property
    def name(self) -> str:
        """Name of this place of publication."""
        return "Dagster event log, asset seals"

    def read(self) -> Published:
        """The seals that were materialized, each by its first event.

        Anyone who can reach the UI can add an event, so an event that names no seal, or contradicts an earlier one,
        becomes a note: it does not affect the others.
        """
        seals: dict[int, PublishedSeal] = {}
        problems: list[str] = []
        notes: list[str] = []
        try:
            for metadata, recorded_at in sorted(self._materializations(), key=lambda found: found[1]):
                seal = _published(metadata, recorded_at)
                if seal is None:
                    notes.append(
                        f"a materialization names no seal ({', '.join(sorted(metadata))}), so LDTM did not write it"
                    )
                elif seals.setdefault(seal.seal_id, seal).sha256 != seal.sha256:
                    notes.append(
                        f"seal {seal.seal_id} was published again as {seal.sha256.hex()[:16]}..., after "
                        f"{seals[seal.seal_id].sha256.hex()[:16]}...; compare with the other publications"
                    )
        except UNREACHABLE as error:
            problems.append(f"it cannot be read: {_first_line(error)}; start Dagster's storage and verify again")
        return Published(
            seals=seals,
            problems=tuple(problems),
            notes=tuple(notes),
            witness="the clock of Dagster, which the owner sets",
        )

    def publish(self, seals: Sequence[Seal]) -> None:
        """Record one materialization a seal. Raises PublicationFailed."""
        try:
            for seal in seals:
                self._instance.report_runless_asset_event(dg.AssetMaterialization(SEALS, metadata=_metadata(seal)))
        except UNREACHABLE as error:
            raise PublicationFailed(
                f"{self.name} accepts no event: {_first_line(error)}; check Dagster's storage"
            ) from error

    def _materializations(self) -> Iterator[tuple[dict[str, dg.MetadataValue], datetime]]:
        cursor: str | None = None
        while True:
            page = self._instance.fetch_materializations(SEALS, limit=PAGE, cursor=cursor)
            for record in page.records:
                if record.asset_materialization is not None:
                    yield dict(record.asset_materialization.metadata), datetime.fromtimestamp(record.timestamp, UTC)
            if not page.has_more:
                return
            cursor = page.cursor


def _published(metadata: Mapping[str, dg.MetadataValue], recorded_at: datetime) -> PublishedSeal | None:
    try:
        seal_id, sha256 = int(str(metadata[NUMBER].value)), bytes.fromhex(str(metadata[SHA256].value))
    except (KeyError, ValueError):
        return None
    if not 0 <= seal_id < 1 << 63 or len(sha256) != SHA256_BYTES:
        return None
    return PublishedSeal(seal_id=seal_id, sha256=sha256, published_at=recorded_at)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _metadata(seal: Seal) -> dict[str, dg.MetadataValue | str | int]:
    return {
        NUMBER: seal.seal_id,
        SHA256: seal.sha256.hex(),
        "session": seal.session.isoformat(),
        "first event": seal.first_event,
        "events": seal.num_events,
        "Merkle root": seal.merkle_root.hex(),
        "previous SHA-256": seal.previous_sha256.hex(),
        "sealed at": seal.sealed_at.isoformat(),
    }
