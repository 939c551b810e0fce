"""Live forecasts, and the evidence that they were recorded before their session opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.audit.encoding import MOMENT_ZERO
from ldtm_lib.audit.publications.protocol import Published
from ldtm_lib.audit.seal import Seal

Moments = npt.NDArray[np.int64]
"""Microseconds since 2000-01-01 UTC."""
EARLIEST, LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""Values that replace a missing moment: before or after all others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveForecasts:
    """Live rows that are forecasts and have an event: each field has one entry per row."""

    event_ids: npt.NDArray[np.int64]
    opened_at: Moments
    """Time at which the first target session opened, by the exchange calendar of this program."""
    run_dates: pl.Series


NO_LIVE_FORECASTS = LiveForecasts(
    event_ids=np.empty(0, dtype=np.int64),
    opened_at=np.empty(0, dtype=np.int64),
    run_dates=pl.Series(dtype=pl.Date),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """Number of live forecasts that were in a seal which one publication had before their session opened."""

    name: str
    """The publication, or the seals of the database."""
    relies_on: str
    """The clock and its owner."""
    num_in_time: int
    is_stamp: bool = False
    """True if it is the clock of a time stamp authority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRows:
    """The evidence that live forecasts were made in time."""

    num_live: int = 0
    num_sealed_in_time: int = 0
    """Forecasts that were sealed before their session opened, by the clock of the database."""
    num_stamped_in_time: int = 0
    """Forecasts whose seal has a time stamp of an authority from before their session opened."""
    first_unsealed: date | None = None
    """The first run date with a live forecast that was not sealed in time."""
    testimonies: tuple[Testimony, ...] = ()
    """The database's seals, then each publication that states the times at which it received seals."""


def live_rows(live: LiveForecasts, chain: Sequence[Seal], outside: Mapping[str, Published]) -> LiveRows:
    """Count for each publication the forecasts whose seal it had before their session opened.

    Only seals that the publication and the database have with the same content count.
    """
    ends = np.array([seal.first_event + seal.num_events for seal in chain], dtype=np.int64)
    places = np.searchsorted(ends, live.event_ids, side="right")
    sealed = _in_time([seal.sealed_at for seal in chain], places, live)
    by_owner = "the clock of the database, which its owner sets"
    testimonies = [Testimony(name="seals in the database", relies_on=by_owner, num_in_time=int(sealed.sum()))]
    stamped = np.zeros(len(live.event_ids), dtype=bool)
    for name, published in outside.items():
        if published.witness is None:
            continue
        moments: list[datetime | None] = []
        is_stamp = False
        for seal in chain:
            there = published.seals.get(seal.seal_id)
            genuine = there if there is not None and there.sha256 == seal.sha256 else None
            is_stamp |= genuine is not None and genuine.stamped_at is not None
            moments.append(genuine and (genuine.stamped_at or genuine.published_at))
        in_time = _in_time(moments, places, live)
        if is_stamp:
            stamped |= in_time
        testimonies.append(
            Testimony(name=name, relies_on=published.witness, num_in_time=int(in_time.sum()), is_stamp=is_stamp)
        )
    return LiveRows(
        num_live=len(live.event_ids),
        num_sealed_in_time=int(sealed.sum()),
        num_stamped_in_time=int(stamped.sum()),
        first_unsealed=min(live.run_dates.filter(pl.Series(~sealed)).to_list(), default=None),
        testimonies=tuple(testimonies),
    )


def microseconds(moment: datetime) -> int:
    """A moment in the unit of the rows: microseconds since 2000-01-01 UTC."""
    since = moment.astimezone(UTC) - MOMENT_ZERO
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def at_places(values: npt.NDArray[Any], places: npt.NDArray[np.int64], otherwise: Any) -> npt.NDArray[Any]:
    """The values at some places; places behind the last value get `otherwise`."""
    return np.append(values, np.array([otherwise], dtype=values.dtype))[np.minimum(places, len(values))]


def _in_time(
    moments: Sequence[datetime | None], places: npt.NDArray[np.int64], live: LiveForecasts
) -> npt.NDArray[np.bool_]:
    """True for each forecast whose session opened after the moment of its seal, which `places` finds in `moments`."""
    known = np.array([LATEST if moment is None else microseconds(moment) for moment in moments], dtype=np.int64)
    return at_places(known, places, LATEST) < live.opened_at
