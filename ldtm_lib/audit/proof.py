"""Proofs that a forecast and its outcomes are in the chain: small, and checked without the database."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from ldtm_lib.audit import events
from ldtm_lib.audit.encoding import Field, Value
from ldtm_lib.audit.events import Event
from ldtm_lib.audit.merkle import audit_path
from ldtm_lib.audit.seal import SEAL_FIELDS, Seal
from ldtm_lib.audit.sealing import read_seals
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import NotProvable
from ldtm_lib.ledger.simulations import NO_SIMULATION

FORMAT = "LDTM proof {version}"
"""The version is that of the record format of its forecast: an older verifier refuses formats that it does not know."""
REMEDY = "`ldtm audit verify` shows what was altered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The events of one forecast with their audit paths to the seals."""

    document: dict[str, Any]
    """For JSON; docs/record-format.md describes it."""
    num_events: int
    num_unsealed: int
    """Events of the forecast that no seal covers yet: they are not in the proof."""


def prove(conn: Connection, ticker: str, run_date: date, simulation_id: int = NO_SIMULATION) -> Proof:
    """Prove the forecast of a ticker on a run date, its fills, voids and restatements, and the configuration in force.

    `simulation_id` is 0 for the row of a daily run. Raises NotProvable when there is no such forecast, when it is not
    sealed yet, and when the tables or the chain were altered.
    """
    found, num_on_record = events.of_forecast(conn, ticker, run_date, simulation_id)
    named = events.subject("forecast", ticker, run_date, None, simulation_id)
    if not num_on_record:
        raise NotProvable(
            f"there is no {named.removeprefix('the ')} in the record; `ldtm forecasts {ticker}` lists those on record"
        )
    if len(found) < num_on_record:
        raise NotProvable(f"some of the recorded rows of {named} are missing; {REMEDY}")
    chain = read_seals(conn)
    placed = [(event, seal) for event in found if (seal := _seal_of(event, chain)) is not None]
    placed.sort(key=lambda pair: pair[0].key.event != "forecast")
    if not placed or placed[0][0].key.event != "forecast":
        raise NotProvable(f"{named} is not sealed yet: a daily run ends with a seal; `ldtm audit seal` seals it now")
    num_unsealed = len(found) - len(placed)
    placed += [(event, seal) for event in _configuration(conn, placed[0][0]) if (seal := _seal_of(event, chain))]
    used = {seal.seal_id: seal for _, seal in placed}
    leaves = {number: seal.leaf_list for number, seal in used.items()}
    document = {
        "format": FORMAT.format(version=placed[0][0].key.version),
        "ticker": ticker,
        "run_date": run_date.isoformat(),
        "simulation_id": simulation_id,
        "events": [_event(event, seal, leaves[seal.seal_id]) for event, seal in placed],
        "seals": [_seal(seal) for seal in used.values()],
    }
    return Proof(document=document, num_events=len(placed), num_unsealed=num_unsealed)


def _configuration(conn: Connection, forecast: Event) -> list[Event]:
    """The configuration that a forecast was made with; none if the forecast precedes the first one in the chain."""
    row = conn.execute(query("audit.configuration_at"), {"event_id": forecast.key.event_id}).fetchone()
    return [] if row is None else events.read(conn, row)


def _seal_of(event: Event, chain: list[Seal]) -> Seal | None:
    at = event.key.event_id
    return next((seal for seal in chain if seal.first_event <= at < seal.first_event + seal.num_events), None)


def _event(event: Event, seal: Seal, leaves: list[bytes]) -> dict[str, Any]:
    at = event.key.event_id - seal.first_event
    if not event.is_intact or leaves[at] != event.key.leaf:
        named = events.subject(*event.key.about)
        raise NotProvable(f"{named} differs from what was recorded; {REMEDY}")
    return {
        "says": _readable(event.fields, event.values),
        "seal": seal.seal_id,
        "path": [step.hex() for step in audit_path(leaves, at)],
    }


def _seal(seal: Seal) -> dict[str, Any]:
    return _readable(SEAL_FIELDS, [getattr(seal, field.name) for field in SEAL_FIELDS]) | {"sha256": seal.sha256.hex()}


def _readable(fields: tuple[Field, ...], values: tuple[Value, ...] | list[Value]) -> dict[str, Any]:
    return {field.name: _plain(value) for field, value in zip(fields, values, strict=True)}


def _plain(value: Value) -> str | float | int | bool | None:
    """A value for JSON, from which its canonical bytes can be computed again."""
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case _:
            return value
