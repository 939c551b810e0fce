"""Discrepancies between the tables and the chain that a verification finds, with messages that name the row."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from ldtm_lib.audit.events import subject

What = Literal[
    "altered",
    "missing",
    "added",
    "reordered",
    "misdated",
    "late",
    "mistargeted",
    "miscalculated",
    "without bar",
    "without grounds",
    "unlisted",
    "misjudged",
    "doubled",
    "unknown event",
    "unknown version",
    "schema",
    "unreadable",
    "broken seal",
    "calendar",
    "publication",
]

SENTENCES: dict[What, str] = {
    "altered": "was altered after it was recorded",
    "missing": "was recorded and is missing",
    "added": "was never recorded as an event: it bypassed the chain",
    "reordered": "is at another place in the chain than where it was recorded",
    "misdated": "has a time that is not between its seal and the seal before: it was backdated or postdated",
    "late": "is marked live and was recorded after its first target session had opened",
    "mistargeted": "names other target sessions than those of its run date",
    "miscalculated": "has a direction or an error that does not follow from its prices",
    "without bar": "has an actual that does not follow from any stored bar of its session",
    "without grounds": "is marked live, but has no stored window or no model that was active by then",
    "unlisted": "is of a ticker that was not in the universe on record at that time",
    "misjudged": "does not follow from the forecasts of its backtest and the bounds on record",
    "unknown event": "is of a kind that does not exist: its subject cannot be checked",
    "unknown version": "names a version of the record format that its kind of event does not have",
    "doubled": "is in the chain twice",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """One difference from the recorded state."""

    what: What
    event_id: int | None = None
    """Place in the chain of the event; None for a discrepancy that is not of an event."""
    message: str
    """A sentence that names the row, the seal or the place outside of the database."""


def of_event(
    what: What,
    event_id: int | None,
    event: str,
    ticker: str | None,
    run_date: date | None,
    horizon: str | None,
    number: int = 0,
) -> Discrepancy:
    """A discrepancy of one event and the row that it is about."""
    at = f" (event {event_id})" if event_id is not None else ""
    message = f"{subject(event, ticker, run_date, horizon, number)}{at} {SENTENCES[what]}"
    return Discrepancy(what=what, event_id=event_id, message=message)
