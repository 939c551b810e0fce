"""Networks that passed the gate and were taken out by an order: by whom, when and why."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A network that an order took out, and the order."""

    ticker: str
    network_id: int
    version: str
    """The last one under which it spoke."""
    action: Literal["rollback", "retirement"]
    ordered_by: str
    why: str
    ordered_at: datetime
    instead: str | None
    """The version that a rollback brought in its place; None for a retirement."""
    is_newest: bool
    """Whether no newer network of its ticker is on record, not even a candidate."""
    is_back: bool
    """Whether it is active again."""
    is_last: bool
    """Whether its ticker has had no active version since."""

    @property
    def sentence(self) -> str:
        """What was ordered, in words, without a full stop."""
        what = "was retired" if self.action == "retirement" else f"was rolled back to {self.instead}"
        return f"{self.ticker} {self.version} {what} on {self.ordered_at:%Y-%m-%d} by {self.ordered_by}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfService:
    """Why a ticker's newest network, or every network of it, is not active although it passed the gate."""

    orders: tuple[Departure, ...]
    """The order that took the newest network out, and a later one that left the ticker without an active version."""

    @property
    def sentence(self) -> str:
        """The orders in words, the earliest first, without a full stop."""
        return "; ".join(order.sentence for order in self.orders)


def departures(conn: Connection, tickers: Collection[str] | None = None) -> dict[str, list[Departure]]:
    """The networks of some tickers, or of all, that were ever taken out by an order; by ticker.

    One that spoke more than once comes with the last order against it. One statement.
    """
    found: dict[str, list[Departure]] = {}
    parameters = {"tickers": None if tickers is None else list(tickers)}
    with conn.cursor(row_factory=class_row(Departure)) as cursor:
        for departure in cursor.execute(query("registry.decommissioned"), parameters):
            found.setdefault(departure.ticker, []).append(departure)
    return found


def out_of_service(ticker_departures: Collection[Departure]) -> OutOfService | None:
    """What speaks against one ticker's networks now; None where its newest one, or a later choice, is in service."""
    telling = [d for d in ticker_departures if d.is_last or (d.is_newest and not d.is_back)]
    return OutOfService(orders=tuple(sorted(telling, key=lambda d: d.ordered_at))) if telling else None
