"""The ledger as a few dictionaries: what each forecast's actuals must be, worked out without a database.

A share has a price in its own units: those of its first day, before any split. A store that was told of splits holds
that price divided by their ratios, and a forecast counts in the units of the store at the moment that it was made.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ldtm_lib.prices.splits import MIN_RESTATED_BARS, Split
from ldtm_lib.sessions import HORIZONS, Calendar

SAME = 1e-9
"""Relative: what restating a price by several splits leaves of rounding is far less."""
Apply = Callable[[], None]
RowKey = tuple[str, date, int]
"""Ticker, run date, and the simulation; 0 for a daily run."""


@dataclass(slots=True)
class Share:
    """One ticker at its source and in the store."""

    ticker: str
    worth: dict[date, float] = field(default_factory=dict[date, float])
    """What the source has now, in the units of the first day."""
    splits: list[Split] = field(default_factory=list[Split])
    """By session."""
    stored: dict[date, float] = field(default_factory=dict[date, float])
    """What the store was told of `worth`."""
    num_told: int = 0
    """How many of the splits the store was told of."""

    @property
    def units(self) -> float:
        """What the store divides by."""
        return self.divisor(self.num_told)

    def divisor(self, num_splits: int) -> float:
        return math.prod(split.ratio for split in self.splits[:num_splits])

    def num_applied(self, basis: date) -> int:
        return sum(split.session <= basis for split in self.splits)

    def can_be_noticed(self, sessions: Iterable[date], basis: date) -> bool:
        """Whether bars tell their basis without a word of splits: enough are stored, restated by one split alone.

        The newest stored bar must be among them: otherwise nothing tells whether the split is before or after it.
        """
        common = [session for session in sessions if session in self.stored]
        is_plain = all(self.worth[session] == self.stored[session] for session in common)
        num_new = self.num_applied(basis) - self.num_told
        is_told_apart = num_new < 1 or (
            num_new == 1
            and not self.looks_forgotten(common, self.num_applied(basis))
            and max(common, default=None) == max(self.stored, default=None)
        )
        return is_plain and len(common) >= MIN_RESTATED_BARS and is_told_apart

    def looks_forgotten(self, sessions: Sequence[date], num_applied: int) -> bool:
        """Whether each of some bars arrives as from a source that has forgotten the splits from one of the told on.

        A split that takes a told one back does that to bars before the told one, and to no later bar.
        """

        def without(first: int, session: date) -> float:
            forgotten = [split.ratio for split in self.splits[first : self.num_told] if session < split.session]
            return self.units / math.prod(forgotten)

        arrives = self.divisor(num_applied)
        return any(
            all(math.isclose(without(first, session), arrives, rel_tol=SAME) for session in sessions)
            for first in range(self.num_told)
        )


@dataclass(slots=True)
class Forecast:
    """What is known of one row: the units it counts in, its targets, and what was said of them."""

    ticker: str
    targets: Mapping[str, date]
    close: float
    """In units of the first day."""
    units: float
    said: dict[str, list[float]]
    """By horizon: the actual, then what each restatement says."""


@dataclass(slots=True)
class PlainLedger:
    """Shares, windows and forecasts. A change is planned from what is known at one moment, and applied at a commit."""

    calendar: Calendar
    shares: dict[str, Share]
    window_sessions: int
    windows: dict[date, dict[str, tuple[float, float] | None]] = field(
        default_factory=dict[date, dict[str, tuple[float, float] | None]]
    )
    """By session and ticker: close and units of the window; None where there is none."""
    active_models: set[str] = field(default_factory=set[str])
    rows: dict[RowKey, Forecast | None] = field(default_factory=dict[RowKey, Forecast | None])
    """None is an abstention."""
    kinds: dict[RowKey, str] = field(default_factory=dict[RowKey, str])

    def plan_delivery(self, delivered: Mapping[str, Sequence[date]], basis: date) -> Apply:
        """A delivery on an older basis than the store's takes no split back."""
        known = {t: {s: self.shares[t].worth[s] for s in sessions} for t, sessions in delivered.items()}
        applied = {ticker: self.shares[ticker].num_applied(basis) for ticker in delivered}

        def apply() -> None:
            for ticker, worth in known.items():
                share = self.shares[ticker]
                share.stored |= worth
                share.num_told = max(share.num_told, applied[ticker])

        return apply

    def plan_windows(self, session: date) -> Apply:
        needed = [self.calendar.offset(session, -back) for back in range(self.window_sessions)]
        made = {
            ticker: (share.stored[session], share.units) if share.stored.keys() >= set(needed) else None
            for ticker, share in self.shares.items()
        }
        return lambda: self.windows.__setitem__(session, made)

    def plan_snapshots(self, run_date: date, kind: str, simulation_id: int) -> Apply:
        targets = dict(zip(HORIZONS, self.calendar.targets(run_date).as_tuple(), strict=True))
        new: dict[RowKey, Forecast | None] = {}
        for ticker, window in self.windows[run_date].items():
            forecast = None
            if window is not None and ticker in self.active_models:
                forecast = Forecast(ticker, targets, *window, said={horizon: [] for horizon in HORIZONS})
            new[ticker, run_date, simulation_id] = forecast

        def apply() -> None:
            for key, forecast in new.items():
                if key not in self.rows:
                    self.rows[key], self.kinds[key] = forecast, kind

        return apply

    def plan_fill(self, as_of: date, tickers: Iterable[str]) -> tuple[int, Apply]:
        """How many actuals a fill writes, and the fill; restatements are of all tickers and sessions."""
        asked = set(tickers)
        news: list[tuple[list[float], float]] = []
        num_filled = 0
        for forecast in filter(None, self.rows.values()):
            share = self.shares[forecast.ticker]
            for horizon, target in forecast.targets.items():
                said = forecast.said[horizon]
                if target not in share.stored:
                    continue
                now = share.stored[target] / forecast.units
                if not said and target <= as_of and forecast.ticker in asked:
                    num_filled += 1
                    news.append((said, now))
                elif said and not math.isclose(said[-1], now, rel_tol=SAME):
                    news.append((said, now))

        def apply() -> None:
            for said, now in news:
                said.append(now)

        return num_filled, apply
