"""Every row of the record against its event in the chain, worked out by PostgreSQL in one pass over each table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from ldtm_lib.audit import events
from ldtm_lib.audit.discrepancies import Discrepancy, of_event
from ldtm_lib.audit.seal import Seal
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import Calendar

BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChecks:
    """What was found when every row was held against its event."""

    found: list[Discrepancy]
    notes: tuple[str, ...]
    """Worth knowing, and no failure."""


def check_rows(conn: Connection, chain: Sequence[Seal], calendar: Calendar) -> RowChecks:
    """What is altered, missing, added, reordered, misdated, doubled or wrongly live; at most 100 of each kind."""
    exchange = exchange_sessions(calendar)
    altered, called_off = _calendar(conn, exchange)
    parameters = {**_limits(chain), **exchange, "called_off": called_off}
    found: list[Discrepancy] = []
    for check in (
        query("audit.check_forecasts"),
        query("audit.check_fills"),
        query("audit.check_voids"),
        query("audit.check_restatements"),
        query("audit.check_models"),
        query("audit.check_service_entries"),
        query("audit.check_simulations"),
    ):
        for event_id, *about, what in conn.execute(check, parameters):
            found.append(of_event(what, event_id, *about))
    found = _reordered(conn, found)
    found += _missing_events(conn, chain)
    found += _doubled(conn)
    for event_id, event, ticker, run_date, simulation_id in conn.execute(query("audit.unknown_events")):
        found.append(of_event("unknown event", event_id, str(event), ticker, run_date, None, simulation_id))
    for event_id, *about in conn.execute(query("audit.unknown_versions")):
        found.append(of_event("unknown version", event_id, *about))
    found += _surroundings(conn)
    notes = tuple(f"session {day} was called off by the exchange after it was recorded" for day in called_off)
    return RowChecks(found=[*found, *altered], notes=notes)


def exchange_sessions(calendar: Calendar) -> dict[str, list[Any]]:
    """The exchange's calendar as this program knows it, for statements: one entry a session in each list."""
    days, opens, closes = zip(*calendar.schedule(), strict=True)
    mondays = calendar.next_mondays()
    return {"sessions": list(days), "opens": list(opens), "closes": list(closes), "next_mondays": mondays}


def _limits(chain: Sequence[Seal]) -> Mapping[str, object]:
    """Where each seal's events begin and between which moments they must have happened; the unsealed ones last."""
    sealed_at = [seal.sealed_at for seal in chain]
    ends = [seal.first_event + seal.num_events for seal in chain]
    return {
        "first_events": [0, *ends],
        "not_before": [BEGINNING, *sealed_at],
        "not_after": [*sealed_at, END],
    }


def _reordered(conn: Connection, found: list[Discrepancy]) -> list[Discrepancy]:
    """Of altered events, those that say what another one of them was recorded to say: they changed places."""
    ids = [d.event_id for d in found if d.what == "altered" and d.event_id is not None]
    moved = {
        event.key.event_id: of_event("reordered", event.key.event_id, *event.key.about)
        for event in events.read(conn, ids)
        if any(event.leaf_at(at) == event.key.leaf for at in ids if at != event.key.event_id)
    }
    return [moved.get(d.event_id, d) if d.event_id is not None else d for d in found]


def _missing_events(conn: Connection, chain: Sequence[Seal]) -> list[Discrepancy]:
    """Places of the chain without an event."""
    num_events, end = conn.execute(query("audit.extent")).fetchone() or (0, 0)
    gaps = conn.execute(query("audit.gaps")).fetchall() if num_events < end else []
    sealed_end = chain[-1].first_event + chain[-1].num_events if chain else 0
    if end < sealed_end:
        gaps.append((end, sealed_end - 1))
    return [
        Discrepancy(
            what="missing",
            event_id=first,
            message=f"event {first} was recorded and is missing"
            if first == last
            else f"events {first} to {last} were recorded and are missing",
        )
        for first, last in gaps
    ]


def _doubled(conn: Connection) -> list[Discrepancy]:
    """Events about one and the same thing, where there are more events than things."""
    counts = conn.execute(query("audit.counts")).fetchall()
    if all(num_events <= num_rows for _, num_events, num_rows in counts):
        return []
    rows = conn.execute(query("audit.duplicates")).fetchall()
    return [of_event("doubled", event_id, *about) for event_id, *about in rows]


def _surroundings(conn: Connection) -> list[Discrepancy]:
    """What in the schema could hide rows, or make a comparison say something else than it should."""
    rows = conn.execute(query("audit.surroundings")).fetchall()
    return [
        Discrepancy(what="schema", message=f"{finding}: what a statement says of it is not to be relied on")
        for (finding,) in rows
    ]


def _calendar(conn: Connection, exchange: Mapping[str, object]) -> tuple[list[Discrepancy], list[date]]:
    """Sessions that have opened and are other ones in the database; apart, those that the exchange called off later."""
    altered: list[Discrepancy] = []
    called_off: list[date] = []
    for session, known, given in conn.execute(query("audit.calendar"), exchange):
        if given is None:
            called_off.append(session)
            continue
        message = (
            f"session {session} opens at {known} in the database and at {given} by exchange-calendars: "
            "the table trading_session was altered, or the package's history was corrected"
        )
        altered.append(Discrepancy(what="calendar", message=message))
    return altered, called_off
