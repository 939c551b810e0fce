"""Decommissioned models: networks that passed the gate and were taken out by a lifecycle action."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query


@dataclass(frozen=True, slots=True, kw_only=True)
class DecommissionedModel:
    """A network that a lifecycle action decommissioned, and that action."""

    ticker: str
    network_id: int
    version: str
    """The last version under which it was active."""
    action: Literal["rollback", "retirement"]
    requested_by: str
    why: str
    recorded_at: datetime
    instead: str | None
    """The version that a rollback brought in its place; None for a retirement."""
    is_newest: bool
    """True if no newer network of its ticker is on record, not even a candidate."""
    is_back: bool
    """True if it is active again."""
    is_last: bool
    """True if its ticker has had no active version since."""

    @property
    def sentence(self) -> str:
        """The lifecycle action as a sentence without a full stop."""
        what = "was retired" if self.action == "retirement" else f"was rolled back to {self.instead}"
        return f"{self.ticker} {self.version} {what} on {self.recorded_at:%Y-%m-%d} by {self.requested_by}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfService:
    """The reason why a ticker's newest network, or every network of it, is not active although it passed the gate."""

    models: tuple[DecommissionedModel, ...]
    """The newest network, and the one whose decommissioning left the ticker without an active version."""

    @property
    def sentence(self) -> str:
        """The lifecycle actions as a sentence, the earliest first, without a full stop."""
        return "; ".join(model.sentence for model in self.models)


def decommissioned_models(
    conn: Connection, tickers: Collection[str] | None = None
) -> dict[str, list[DecommissionedModel]]:
    """The networks of some tickers, or of all, that were ever decommissioned; by ticker.

    One that was decommissioned more than once comes with the last lifecycle action. One statement.
    """
    found: dict[str, list[DecommissionedModel]] = {}
    parameters = {"tickers": None if tickers is None else list(tickers)}
    with conn.cursor(row_factory=class_row(DecommissionedModel)) as cursor:
        for model in cursor.execute(query("registry.decommissioned"), parameters):
            found.setdefault(model.ticker, []).append(model)
    return found


def out_of_service(ticker_models: Collection[DecommissionedModel]) -> OutOfService | None:
    """The lifecycle actions that keep a ticker out of service; None if its newest network or a later one is active."""
    relevant = [d for d in ticker_models if d.is_last or (d.is_newest and not d.is_back)]
    return OutOfService(models=tuple(sorted(relevant, key=lambda d: d.recorded_at))) if relevant else None
