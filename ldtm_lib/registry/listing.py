"""The registry at a glance: one entry per ticker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from ldtm_lib.backtest.gate import Verdict
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.statements import statement
from ldtm_lib.registry.verdicts import verdict_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntry:
    """Who speaks for a ticker, who waits, and what the gate said last."""

    ticker: str
    active_version: str | None
    active_trained_on: date | None
    activated_at: datetime | None
    candidate_trained_on: date | None
    """Of the newest candidate."""
    candidate_validation_loss: float | None
    num_retired: int
    decided_at: datetime | None
    rules: Sequence[Mapping[str, object]] | None
    """Of the newest verdict, as stored; `verdict` has them typed."""

    @property
    def verdict(self) -> Verdict | None:
        """The gate's newest verdict, on whichever candidate."""
        return None if self.rules is None else verdict_of(self.rules)


def list_registry(conn: Connection) -> list[RegistryEntry]:
    """Every ticker that was ever trained or judged, sorted by name."""
    with conn.cursor(row_factory=class_row(RegistryEntry)) as cursor:
        return cursor.execute(statement("registry/list_registry")).fetchall()
