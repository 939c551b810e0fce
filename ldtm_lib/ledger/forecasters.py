"""Forecasters: the trained network in use for each ticker on a run date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.simulations import NO_SIMULATION
from ldtm_lib.settings import ForecastConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecaster:
    """One checkpoint of the registry."""

    ticker: str
    checkpoint_id: int
    status: Literal["active", "retired", "candidate"]
    version: str | None
    trained_on: date
    file_name: str
    file_sha256: str
    in_time: bool
    """True if its training ended early enough for the run date."""


def forecasters(
    conn: Connection, tickers: Sequence[str], run_date: date, *, simulation_id: int, config: ForecastConfig
) -> dict[str, Forecaster]:
    """The checkpoint in use for each ticker on a run date; a ticker without any is absent.

    For a run date whose next session has not opened, this is the active checkpoint. For a past or simulated run date it
    is the newest checkpoint that was ever promoted, so that a missed session can be caught up after a retraining. The
    newest candidate is used only if there is none of these, only in simulated rows, and only if the settings allow it.
    No model may have seen data from after its run date, and a simulated row takes only models whose training ended
    before it. A ticker whose only models saw such data is present with `in_time` false. A simulation that has models of
    its own uses these.
    """
    with conn.cursor(row_factory=class_row(Forecaster)) as cursor:
        found = cursor.execute(
            query("ledger.forecasters"),
            {
                "tickers": list(tickers),
                "run_date": run_date,
                "simulation_id": simulation_id,
                "trained_until": _trained_until(run_date, simulation_id),
                "allow_candidates": simulation_id != NO_SIMULATION and config.without_active == "candidate",
            },
        ).fetchall()
    return {forecaster.ticker: forecaster for forecaster in found}


def forecaster_on_record(
    conn: Connection, checkpoint_id: int, run_date: date, *, simulation_id: int
) -> Forecaster | None:
    """The checkpoint that a forecast names, as the registry has it now."""
    wanted = {"checkpoint_id": checkpoint_id, "trained_until": _trained_until(run_date, simulation_id)}
    with conn.cursor(row_factory=class_row(Forecaster)) as cursor:
        return cursor.execute(query("ledger.forecaster_on_record"), wanted).fetchone()


def _trained_until(run_date: date, simulation_id: int) -> date:
    return run_date if simulation_id == NO_SIMULATION else run_date - timedelta(days=1)
