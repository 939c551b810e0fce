"""Outliers: closes that leave the series and return within three sessions, or that are in another unit.

Only closes are judged. A spike of high or low alone stays: a bar whose high is far above its close may be a wrong print
or a real one, and neither its neighbours nor its other three prices show which. A crash or leap that lasts is not an
outlier.

The search visits only jumps, which are found for all tickers at once; tests compare it with a plain loop over all bars.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.prices.bars import KEY
from ldtm_lib.prices.splits import Floats
from ldtm_lib.sessions import Calendar

SPIKE_FACTOR = 3.0
"""A close beyond this factor above or below both neighbours is a spike once the series returns. The crash of AAPL on
2000-09-29, among the largest in one session of a large company, was a factor of 2.1 and did not return."""
LONGEST_SPIKE = 3
"""Most consecutive bars of one spike, and most sessions until the series returns."""
UNIT_FACTOR = 100.0
"""Pence in a pound, cents in a dollar."""
UNIT_TOLERANCE = 1.25
"""Largest factor, up or down, by which the market itself may move on top of a change of unit."""

OUTLIER_SCHEMA = pl.Schema({"ticker": pl.String, "session": pl.Date, "close": pl.Float64, "reason": pl.String})

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierRun:
    """Consecutive bars far from the ones around them, as row numbers of a series: `first` to `stop`, exclusive."""

    first: int
    stop: int
    before: int | None
    """The bar before; None for bars at the beginning of the series, in another unit than those after them."""
    after: int | None
    """The bar that returned; None for bars at the end, in another unit than the one before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundOutliers:
    """The outliers of a series, and the bars from which another unit seems to hold permanently."""

    runs: tuple[OutlierRun, ...]
    unit_changes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedDelivery:
    """The outliers among delivered bars, and stored bars that they show to be outliers; columns of OUTLIER_SCHEMA."""

    delivered: pl.DataFrame
    stored: pl.DataFrame
    notes: tuple[str, ...]
    """Notes on changes of unit that last."""


def judge_delivery(series: pl.DataFrame, calendar: Calendar) -> JudgedDelivery:
    """Find the outliers of stored and delivered bars together, with a reason for each.

    `series` has the columns of KEY, close and `is_judged`, sorted by KEY. `is_judged` is True for delivered bars that
    are new or whose close differs from the stored one. Stored outliers are returned if a bar of their run, or a
    neighbour of the run, is judged.
    """
    found = find_outliers(series, calendar)
    if not found.runs and not found.unit_changes:
        nothing = pl.DataFrame(schema=OUTLIER_SCHEMA)
        return JudgedDelivery(delivered=nothing, stored=nothing, notes=())
    judged = series["is_judged"].to_numpy()
    shown = [run for run in found.runs if judged[_span(run)].any()]
    rows = [(at, _reason(series, run, at)) for run in shown for at in range(run.first, run.stop)]
    return JudgedDelivery(
        delivered=_told(series, [row for row in rows if judged[row[0]]]),
        stored=_told(series, [row for row in rows if not judged[row[0]]]),
        notes=_unit_notes(series, found.unit_changes),
    )


def returned_spikes(bars: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """The spikes that returned among some bars, which have the columns of KEY and close; columns of OUTLIER_SCHEMA."""
    series = bars.sort(KEY).select(*KEY, "close", is_judged=pl.lit(value=False))
    returned = [run for run in find_outliers(series, calendar).runs if run.after is not None]
    return _told(series, [(at, _reason(series, run, at)) for run in returned for at in range(run.first, run.stop)])


def find_outliers(series: pl.DataFrame, calendar: Calendar) -> FoundOutliers:
    """Find the outliers of many tickers; `series` as for `judge_delivery`.

    A run of one to three bars is a spike if every close is beyond SPIKE_FACTOR of the closes before and after it,
    which are within that factor of each other and at most four sessions apart. Runs are taken from the oldest on: the
    bar before a run is never an outlier. One to three judged bars at the end of a series, or at its beginning, are in
    another unit if a jump by UNIT_FACTOR separates them from the others, and each is beyond SPIKE_FACTOR of the bar on
    the other side of the jump.
    """
    close = series["close"].to_numpy()
    jumps = _jumps(series, close)
    if not len(jumps):
        return FoundOutliers(runs=(), unit_changes=())
    ticker: Positions = series["ticker"].rle_id().to_numpy().astype(np.int64)
    starts: Positions = np.append(0, np.flatnonzero(np.diff(ticker)) + 1)
    search = _Search(
        close=close,
        at=np.searchsorted(calendar.days, series["session"].to_numpy()),
        is_judged=series["is_judged"].to_numpy(),
        starts=starts,
        stops=np.append(starts[1:], len(close)),
    )
    runs, unit_changes, resume = list[OutlierRun](), list[int](), 0
    for jump in jumps.tolist():
        if jump < resume:
            continue
        run = search.run_at(jump, int(ticker[jump]), resume)
        if run is not None:
            runs.append(run)
            resume = run.stop if run.before is None or run.after is None else run.after + 1
        elif search.is_new_unit(jump):
            unit_changes.append(jump)
    return FoundOutliers(runs=tuple(runs), unit_changes=tuple(unit_changes))


def _jumps(series: pl.DataFrame, close: Floats) -> Positions:
    """The rows whose close is beyond SPIKE_FACTOR of the close before, of the same ticker."""
    if len(close) < 2:
        return np.empty(0, dtype=np.int64)
    is_same = (series["ticker"].slice(1) == series["ticker"].slice(0, len(close) - 1)).to_numpy()
    return np.flatnonzero(is_same & _is_beyond(close[1:], close[:-1], close[:-1])) + 1


def _is_beyond(close: Floats, one: Floats | float, other: Floats | float) -> npt.NDArray[np.bool_]:
    """True if closes are beyond SPIKE_FACTOR of two others, above or below both."""
    return (close > SPIKE_FACTOR * np.maximum(one, other)) | (close * SPIKE_FACTOR < np.minimum(one, other))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """A series as arrays: closes, numbers of sessions, and the first row and the end of each ticker."""

    close: Floats
    at: Positions
    is_judged: npt.NDArray[np.bool_]
    starts: Positions
    stops: Positions

    def run_at(self, jump: int, ticker: int, resume: int) -> OutlierRun | None:
        """The outliers that begin at a jump, or that lie between the start of a ticker and a jump; None without any.

        `resume` is the row after the outliers that were found so far.
        """
        start, stop = int(self.starts[ticker]), int(self.stops[ticker])
        after = self._return_from(jump, stop)
        if after is not None:
            return OutlierRun(first=jump, stop=after, before=jump - 1, after=after)
        if not self.is_unit_jump(jump):
            return None
        if self._is_apart(jump, stop, jump - 1):
            return OutlierRun(first=jump, stop=stop, before=jump - 1, after=None)
        if resume <= start and self._is_apart(start, jump, jump):
            return OutlierRun(first=start, stop=jump, before=None, after=jump)
        return None

    def is_new_unit(self, jump: int) -> bool:
        """True if a jump is a change of unit that a judged bar shows."""
        return bool(self.is_unit_jump(jump) and self.is_judged[jump - 1 : jump + 1].any())

    def is_unit_jump(self, jump: int) -> bool:
        """True if a close is the one before it times or divided by UNIT_FACTOR, up to UNIT_TOLERANCE."""
        ratio = self.close[jump] / self.close[jump - 1]
        factor = max(ratio, 1 / ratio) / UNIT_FACTOR
        return self._are_near(jump - 1, jump) and 1 / UNIT_TOLERANCE <= factor <= UNIT_TOLERANCE

    def _return_from(self, jump: int, stop: int) -> int | None:
        """The first bar, at most LONGEST_SPIKE after a jump, that shows the bars from the jump up to it to be a spike.

        None if there is no such bar.
        """
        before = self.close[jump - 1]
        for after in range(jump + 1, min(jump + LONGEST_SPIKE, stop - 1) + 1):
            if not self._are_near(jump - 1, after):
                return None
            back = self.close[after]
            has_returned = max(before, back) <= SPIKE_FACTOR * min(before, back)
            if has_returned and _is_beyond(self.close[jump:after], before, back).all():
                return after
        return None

    def _is_apart(self, first: int, stop: int, other: int) -> bool:
        """True if some bars are few enough for a spike, all judged, and beyond SPIKE_FACTOR of a neighbouring bar."""
        is_short = stop - first <= LONGEST_SPIKE and self.is_judged[first:stop].all()
        return bool(is_short and _is_beyond(self.close[first:stop], self.close[other], self.close[other]).all())

    def _are_near(self, before: int, after: int) -> bool:
        return bool(self.at[after] - self.at[before] <= LONGEST_SPIKE + 1)


def _span(run: OutlierRun) -> slice:
    """The rows of a run and its neighbours."""
    return slice(
        run.first if run.before is None else run.before,
        run.stop if run.after is None else run.after + 1,
    )


def _told(series: pl.DataFrame, rows: Iterable[tuple[int, str]]) -> pl.DataFrame:
    """Rows of a series, each with a reason."""
    positions, reasons = [at for at, _ in rows], [reason for _, reason in rows]
    told = series[positions].select(*KEY, "close").with_columns(reason=pl.Series(reasons, dtype=pl.String))
    return told.match_to_schema(OUTLIER_SCHEMA)


def _reason(series: pl.DataFrame, run: OutlierRun, at: int) -> str:
    """Reason why a bar of a run is an outlier: its close and those around the run."""
    _, session, close = _bar(series, at)
    around = [_bar(series, other) for other in (run.before, run.after) if other is not None]
    times = " and ".join(f"{close / other:.3g} times the close {other:g} of {day}" for _, day, other in around)
    means = (
        f"it leaves and returns within {LONGEST_SPIKE} sessions"
        if len(around) == 2
        else "another unit, such as cents or pence, or an undeclared split"
    )
    return f"close {close:g} of {session} is {times}: {means}"


def _unit_notes(series: pl.DataFrame, changes: Iterable[int]) -> tuple[str, ...]:
    """A note for each ticker on the first change of unit that lasts."""
    notes: dict[str, str] = {}
    for at in changes:
        (ticker, session, close), (_, day, before) = _bar(series, at), _bar(series, at - 1)
        notes.setdefault(
            ticker,
            f"{ticker} goes from {before:g} on {day} to {close:g} on {session} and stays there: prices in two units, "
            f"or a split of {before / close:.3g} for 1; if it was a split, declare it in the source, otherwise correct "
            "the source and load its bars again",
        )
    return tuple(notes.values())


def _bar(series: pl.DataFrame, at: int) -> tuple[str, date, float]:
    return series["ticker"][at], series["session"][at], series["close"][at]
