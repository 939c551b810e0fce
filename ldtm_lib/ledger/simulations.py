"""Simulations: forecasts of past sessions, each simulation under its own number, separate from the live rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError

NO_SIMULATION = 0
"""The simulation number of live and late rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKind:
    """The rows that a leaderboard counts: live ones, late ones, or those of one simulation."""

    kind: Literal["live", "late", "simulated"]
    simulation_id: int = NO_SIMULATION

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of the statements that count rows."""
        return {"kind": self.kind, "simulation_id": self.simulation_id}

    @property
    def name(self) -> str:
        """A short name of the rows, such as `live` or `simulation 3`."""
        return f"simulation {self.simulation_id}" if self.simulation_id else self.kind


LIVE = RowKind(kind="live")
LATE = RowKind(kind="late")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationPlan:
    """The extent of a simulation. Equal plans denote the same simulation, which is resumed."""

    origin: str
    """The cause of the simulation, such as `backfill abcdefgh`; it identifies the simulation."""
    first_session: date | None = None
    last_session: date | None = None
    retrain_every: int | None = None
    """Sessions between two trainings of its own models; None when it uses the models of the registry."""
    settings_sha256: str | None = None
    """Fingerprint of the settings that models, verdicts and forecasts depend on."""
    tickers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """One simulation on record."""

    simulation_id: int
    """1 for the first one; the numbers have no gaps."""
    started_at: datetime
    origin: str
    first_session: date | None
    last_session: date | None
    retrain_every: int | None
    settings_sha256: str | None
    tickers: list[str] | None
    num_rows: int
    first_run_date: date | None
    last_run_date: date | None

    @property
    def rows(self) -> RowKind:
        """The rows of the simulation."""
        return RowKind(kind="simulated", simulation_id=self.simulation_id)


def begin_simulation(conn: Connection, plan: SimulationPlan) -> int:
    """Return the number of the simulation with the plan's origin; records the simulation if it is new."""
    row = conn.execute(
        query("ledger.begin_simulation"),
        {
            "origin": plan.origin,
            "first_session": plan.first_session,
            "last_session": plan.last_session,
            "retrain_every": plan.retrain_every,
            "settings_sha256": plan.settings_sha256,
            "tickers": None if plan.tickers is None else list(plan.tickers),
        },
    ).fetchone()
    if row is not None:
        return row[0]
    known = conn.execute(query("ledger.simulation_of_origin"), {"origin": plan.origin}).fetchone()
    assert known is not None
    return known[0]


def simulations(conn: Connection) -> list[Simulation]:
    """Every simulation, the newest first."""
    with conn.cursor(row_factory=class_row(Simulation)) as cursor:
        return cursor.execute(query("ledger.simulations")).fetchall()


def newest_simulation(conn: Connection) -> RowKind:
    """The rows of the newest simulation that has any; matches no rows before the first simulation."""
    row = conn.execute(query("ledger.newest_simulation")).fetchone()
    assert row is not None
    return RowKind(kind="simulated", simulation_id=row[0])


def simulation_of_row(conn: Connection, ticker: str, run_date: date, named: int | None = None) -> int:
    """The number of the simulation `named`, which must be on record.

    Without `named` it is 0, the number of daily runs, if they have a row of the ticker and run date, else the newest
    simulation that has one.
    """
    if named is not None:
        return require_simulation(simulations(conn), named).simulation_id
    row = conn.execute(query("ledger.simulation_of_row"), {"ticker": ticker, "run_date": run_date}).fetchone()
    return NO_SIMULATION if row is None else row[0]


def require_simulation(found: Sequence[Simulation], simulation_id: int) -> Simulation:
    """One of the simulations on record; raises ConfigurationError for another number."""
    for each in found:
        if each.simulation_id == simulation_id:
            return each
    known = f"simulations 1 to {len(found)} are" if found else "no simulation is"
    raise ConfigurationError(f"there is no simulation {simulation_id}; {known} on record")


def record_models(
    conn: Connection,
    simulation_id: int,
    first_session: date,
    models: Mapping[str, tuple[int | None, Sequence[str]]],
) -> None:
    """Record the models that a simulation uses from a session on: checkpoint, and the reasons if the gate refused it.

    The checkpoint is None for a ticker whose training left none. Recorded models stay unchanged.
    """
    conn.execute(
        query("ledger.record_simulation_models"),
        {
            "simulation_id": simulation_id,
            "first_session": first_session,
            "tickers": list(models),
            "checkpoint_ids": [checkpoint_id for checkpoint_id, _ in models.values()],
            "reasons": [Jsonb(list(reasons)) for _, reasons in models.values()],
        },
    )


def judged_tickers(conn: Connection, simulation_id: int, first_session: date) -> set[str]:
    """The tickers whose model, or lack of one, is on record for the block that begins at `first_session`."""
    asked = {"simulation_id": simulation_id, "first_session": first_session}
    return {ticker for (ticker,) in conn.execute(query("ledger.judged_in_simulation"), asked)}


def num_rows_by_session(conn: Connection, simulation_id: int, tickers: Sequence[str]) -> dict[date, int]:
    """The number of the given tickers that have a row in a simulation, by run date."""
    asked = {"simulation_id": simulation_id, "tickers": list(tickers)}
    return dict(conn.execute(query("ledger.simulated_rows"), asked).fetchall())
