"""Listings of the registry: one entry per ticker, all versions of one ticker, and its judged networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.gate.verdict import Verdict, verdict_of
from ldtm_lib.registry.decommissioned import DecommissionedModel, OutOfService, decommissioned_models, out_of_service


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntry:
    """A ticker's active model, its newest candidate, and the gate's newest verdict."""

    ticker: str
    active_version: str | None
    active_trained_on: date | None
    activated_at: datetime | None
    candidate_trained_on: date | None
    """Last session of the training of the newest candidate."""
    candidate_validation_loss: float | None
    num_retired: int
    decided_at: datetime | None
    rules: Sequence[Mapping[str, object]] | None
    """Rules of the newest verdict, as stored; `verdict` has them typed."""
    evidence: Mapping[str, object] | None
    multiple_testing: Mapping[str, object] | None
    out_of_service: OutOfService | None = None
    """Lifecycle actions that keep its newest network, or every one of it, out of service although it passed."""

    @property
    def verdict(self) -> Verdict | None:
        """The gate's newest verdict, on whichever candidate."""
        return None if self.rules is None else verdict_of(self.rules, self.evidence, self.multiple_testing)


def list_registry(conn: Connection) -> list[RegistryEntry]:
    """Every ticker that was ever trained or judged, sorted by name."""
    with conn.cursor(row_factory=class_row(RegistryEntry)) as cursor:
        entries = cursor.execute(query("registry.list_registry")).fetchall()
    decommissioned = decommissioned_models(conn)
    return [replace(entry, out_of_service=out_of_service(decommissioned.get(entry.ticker, ()))) for entry in entries]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionEntry:
    """One version of a ticker: when it was active, who restored or retired it, and whether its file exists."""

    version: str
    status: Literal["active", "retired"]
    trained_on: date
    activated_at: datetime
    retired_at: datetime | None
    file_name: str
    file_removed_at: datetime | None
    restores: str | None
    """The version whose network it restored; None for one that passed the gate."""
    restored_by: str | None
    restored_why: str | None
    retired_by: str | None
    """Person or policy that retired it; None if another version took its place, or nothing yet."""
    retired_why: str | None
    next_version: str | None
    """The version that became active after it."""
    next_is_rollback: bool
    num_forecasts: int
    """Rows of the ledger that name it."""


def list_versions(conn: Connection, ticker: str) -> list[VersionEntry]:
    """Every version of a ticker that is or was active, the newest first."""
    with conn.cursor(row_factory=class_row(VersionEntry)) as cursor:
        return cursor.execute(query("registry.list_versions"), {"ticker": ticker}).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedNetwork:
    """A network of a ticker with the newest verdict on it."""

    version: str | None
    """Version of the active model; None for the newest candidate, or for a training that left none."""
    decided_at: datetime
    verdict: Verdict
    decommissioned: DecommissionedModel | None
    """The lifecycle action that took it out since, for a network that was promoted before and is not active."""


def judged_networks(conn: Connection, ticker: str) -> list[JudgedNetwork]:
    """The verdict on a ticker's active network, and the newest verdict on another network since.

    If a lifecycle action left the ticker without an active network, the verdict on the last active one.
    """
    decommissioned = {
        decommissioned.network_id: decommissioned
        for decommissioned in decommissioned_models(conn, [ticker]).get(ticker, ())
    }
    rows = conn.execute(query("registry.judged_networks"), {"ticker": ticker})
    return [
        JudgedNetwork(
            version=version,
            decided_at=decided_at,
            verdict=verdict_of(*parts),
            decommissioned=decommissioned.get(network_id) if version is None else None,
        )
        for version, network_id, decided_at, *parts in rows
    ]
