"""Build windows from bars: all of history for training, or the newest session for a daily forecast."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.features.indicators import WARMUP_BARS, add_indicators
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.scaling import Booleans, Float32s, Integers, scale_prices, sliding, spans
from ldtm_lib.features.volatility import window_volatility
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.sessions import HORIZONS, Calendar, Sessions
from ldtm_lib.settings import WindowConfig

TICKERS_AT_ONCE = 100
"""Number of tickers whose windows are computed in one pass."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputWindow:
    """The input of one ticker's model for one session, or the reason why there is none."""

    ticker: str
    session: date
    inputs: Float32s | None = None
    """(30, 11) scaled."""
    sha256: str | None = None
    """See `window_sha256`."""
    close: float | None = None
    close_min: float | None = None
    close_max: float | None = None
    not_ready: str | None = None
    """Reason such as "has no bar for 2013-02-28"; None if and only if there is a window."""

    @property
    def volatility(self) -> float | None:
        """See `window_volatility`; None without a window."""
        if self.inputs is None or self.close_min is None or self.close_max is None:
            return None
        lowest, highest = np.array([self.close_min]), np.array([self.close_max])
        return float(window_volatility(self.inputs[None], lowest, highest)[0])


def windows_of(bars: pl.DataFrame, calendar: Calendar, config: WindowConfig) -> dict[str, WindowSet]:
    """The windows of every ticker in `bars` (columns of BAR_SCHEMA, all sessions of the calendar), by ticker.

    A window exists if its sessions follow each other in the calendar without a gap and every input is finite. Targets
    without a bar are NaN. A pass computes some tickers at a time, and their arrays share its memory: a pass temporarily
    needs three times the memory of its result.
    """
    num_bars = bars.group_by("ticker", maintain_order=True).len()["len"].to_list()
    sets: dict[str, WindowSet] = {}
    first = 0
    for at in range(0, len(num_bars), TICKERS_AT_ONCE):
        length = sum(num_bars[at : at + TICKERS_AT_ONCE])
        sets |= _windows_in_a_pass(bars.slice(first, length), calendar, config)
        first += length
    return sets


def _windows_in_a_pass(bars: pl.DataFrame, calendar: Calendar, config: WindowConfig) -> dict[str, WindowSet]:
    frame = add_indicators(bars)
    inputs = frame.select(pl.col(INPUTS).cast(pl.Float32)).to_numpy(order="c")
    close = frame["close"].to_numpy()
    bar_sessions: Sessions = frame["session"].to_numpy().astype("datetime64[D]")
    names = frame.group_by("ticker", maintain_order=True).len()
    last_bars = names["len"].to_numpy().astype(np.int64).cumsum()
    first_bars = np.concatenate([[0], last_bars[:-1]])
    tickers = np.repeat(np.arange(len(names)), np.diff(last_bars, prepend=0))
    days = np.searchsorted(calendar.days, bar_sessions)

    width = config.window_sessions
    ends = _complete_ends(inputs, days, width)
    starts = ends - (width - 1)
    low = sliding(np.minimum, inputs, width)[starts]
    span = spans(low, sliding(np.maximum, inputs, width)[starts])
    close_min = sliding(np.minimum, close, width)[starts]
    close_max = sliding(np.maximum, close, width)[starts]
    target_sessions = _target_sessions(days[ends], calendar)
    closes_td = np.full((len(names), len(calendar.days)), np.nan)
    closes_td[tickers, days] = np.where(np.isfinite(close), close, np.nan)
    target_prices = closes_td[tickers[ends][:, None], np.searchsorted(calendar.days, target_sessions)]
    targets = scale_prices(target_prices, close_min, close_max).astype(np.float32)
    labelled: Booleans = np.all(np.isfinite(target_prices), axis=1)

    sets: dict[str, WindowSet] = {}
    first_windows, last_windows = np.searchsorted(ends, first_bars), np.searchsorted(ends, last_bars)
    for n, ticker in enumerate(names["ticker"].to_list()):
        bar = slice(first_bars[n], last_bars[n])
        window = slice(first_windows[n], last_windows[n])
        sets[ticker] = WindowSet(
            ticker=ticker,
            window_sessions=width,
            inputs=inputs[bar],
            bar_sessions=bar_sessions[bar],
            ends=ends[window] - first_bars[n],
            sessions=bar_sessions[ends[window]],
            low=low[window],
            span=span[window],
            close=close[ends[window]],
            close_min=close_min[window],
            close_max=close_max[window],
            target_sessions=target_sessions[window],
            target_prices=target_prices[window],
            targets=targets[window],
            labelled=labelled[window],
        )
    return sets


def _complete_ends(inputs: Float32s, days: Integers, width: int) -> Integers:
    """The last rows of all windows that have no gap and only finite values.

    Rows of several tickers follow each other; a window across two of them would hold the second one's warm-up,
    which is not finite.
    """
    if len(inputs) < width:
        return np.empty(0, dtype=np.int64)
    finite_bars: Booleans = np.all(np.isfinite(inputs), axis=1)
    finite = sliding(np.logical_and, finite_bars, width)
    no_gap = days[width - 1 :] - days[: len(days) - width + 1] == width - 1
    return np.flatnonzero(finite & no_gap) + (width - 1)


def _target_sessions(days: Integers, calendar: Calendar) -> Sessions:
    """The target sessions (W, 3) of windows that end at positions of the calendar, computed once for each session."""
    if not len(days):
        return np.empty((0, len(HORIZONS)), dtype="datetime64[D]")
    first = days.min()
    return calendar.targets_of(calendar.days[first : days.max() + 1])[days - first]


def latest_windows(
    bars: pl.DataFrame, tickers: Sequence[str], session: date, calendar: Calendar, config: WindowConfig
) -> list[InputWindow]:
    """The input of each ticker's model after the close of a session, one entry per ticker, in the order given.

    Reads the newest window_sessions + warmup_bars bars up to the session and ignores any others, so that the result
    does not depend on the amount of older history that is passed in. Raises CalendarError for a day that is not a
    session.
    """
    calendar.require_session(session)
    num_bars = config.window_sessions + config.warmup_bars
    recent = (
        bars.filter(pl.col("ticker").is_in(list(tickers)), pl.col("session") <= session)
        .sort("ticker", "session")
        .group_by("ticker", maintain_order=True)
        .tail(num_bars)
    )
    sets = windows_of(recent, calendar, config)
    return [_latest_window(ticker, session, sets.get(ticker), calendar) for ticker in tickers]


def window_sha256(inputs: Float32s, close: float, close_min: float, close_max: float) -> str:
    """SHA-256 of the inputs as little-endian float32, then the three prices as little-endian float64."""
    prices = np.array([close, close_min, close_max], dtype="<f8")
    return hashlib.sha256(inputs.astype("<f4").tobytes() + prices.tobytes()).hexdigest()


def _latest_window(ticker: str, session: date, windows: WindowSet | None, calendar: Calendar) -> InputWindow:
    if windows is None or windows.bar_sessions[-1] != np.datetime64(session):
        return InputWindow(ticker=ticker, session=session, not_ready=f"has no bar for {session}")
    if not len(windows) or windows.sessions[-1] != np.datetime64(session):
        return InputWindow(ticker=ticker, session=session, not_ready=_obstacle(windows, session, calendar))
    inputs = windows.gather(np.array([len(windows) - 1]))[0]
    close, close_min, close_max = (float(w[-1]) for w in (windows.close, windows.close_min, windows.close_max))
    return InputWindow(
        ticker=ticker,
        session=session,
        inputs=inputs,
        sha256=window_sha256(inputs, close, close_min, close_max),
        close=close,
        close_min=close_min,
        close_max=close_max,
    )


def _obstacle(windows: WindowSet, session: date, calendar: Calendar) -> str:
    """Reason why a ticker that has a bar for the session has no window there."""
    width, num_bars = windows.window_sessions, len(windows.bar_sessions)
    if num_bars < width + WARMUP_BARS:
        return f"has {num_bars} bars, {width + WARMUP_BARS} are needed"
    wanted = calendar.days[: np.searchsorted(calendar.days, np.datetime64(session), side="right")][-width:]
    missing = np.setdiff1d(wanted, windows.bar_sessions)
    if len(missing):
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"has no bar for {missing[0]}{others} within its window"
    row, column = np.argwhere(~np.isfinite(windows.inputs[-width:]))[0]
    return f"has {INPUTS[column]} that is not finite for {windows.bar_sessions[-width:][row]} within its window"
