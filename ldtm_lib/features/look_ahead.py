"""Look-ahead check: find windows that depend on later bars, by altering those bars and by plain arithmetic.

No code is shared with the module that builds windows: closes, ranges and target sessions are looked up again, one
sampled window at a time. Axes: S bars of a ticker, W its windows, n sampled windows, F inputs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl

from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.scaling import Booleans, Float64s
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.features.windows import TICKERS_AT_ONCE, windows_of
from ldtm_lib.sessions import Calendar, Sessions
from ldtm_lib.settings import WindowConfig

MOVED_BY_LATER_BARS = "moved by later bars"
SCALED_BY_WHAT_IS_OUTSIDE = "scaled by what is outside"
LABELLED_BY_ANOTHER_SESSION = "labelled by another session"
OF_A_WINDOW = ("low", "span", "close", "close_min", "close_max")

Build = Callable[[pl.DataFrame, Calendar, WindowConfig], Mapping[str, WindowSet]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLeaks:
    """Look-ahead in the sampled windows of one ticker."""

    ticker: str
    num_sampled: int
    """Number of windows that were checked; 0 if no window of the ticker has a later bar."""
    leaks: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict[str, int]()))
    """Number of leaking windows by kind of leak; a kind without any is left out."""
    first: str | None = None
    """The first leak that was found, with its session and the part of the window that has it."""


SAMPLED_WINDOWS = 3
"""Number of windows per ticker that trainings and daily runs check."""


def window_leaks(
    bars: pl.DataFrame,
    windows: Mapping[str, WindowSet],
    calendar: Calendar,
    config: WindowConfig,
    *,
    num_samples: int,
    seed: int,
    build: Build = windows_of,
) -> dict[str, WindowLeaks]:
    """Search sampled windows of every ticker for look-ahead; returns the results by ticker.

    `windows` are the result of `build` for `bars`. The sample is drawn per ticker, independently of other tickers: one
    window from each stretch of history, and the newest that has a later bar. Of each sampled window:

    - "moved by later bars": every bar after its session is altered and all windows are built once more. Inputs, scales
      and closes up to that session, of the sampled window and of every one before it, must be the same to the bit.
    - "scaled by what is outside": the result of `gather`, the scales and the targets must be those that the window's
      own bars give by plain float32 arithmetic, to the bit, and its last, lowest and highest close must be those of its
      bars.
    - "labelled by another session": the target sessions must be the next one, that of the next Monday and the 21st
      after the window's session, and the target prices must be their closes.

    The cost is `num_samples` further builds of all tickers, `TICKERS_AT_ONCE` of which are in memory at a time.
    """
    tickers, found = list(windows), dict[str, WindowLeaks]()
    for at in range(0, len(tickers), TICKERS_AT_ONCE):
        group = {ticker: windows[ticker] for ticker in tickers[at : at + TICKERS_AT_ONCE]}
        own = bars.filter(pl.col("ticker").is_in(list(group)))
        found |= _leaks_of_group(own, group, calendar, config, num_samples=num_samples, seed=seed, build=build)
    return found


def _leaks_of_group(
    bars: pl.DataFrame,
    windows: Mapping[str, WindowSet],
    calendar: Calendar,
    config: WindowConfig,
    *,
    num_samples: int,
    seed: int,
    build: Build,
) -> dict[str, WindowLeaks]:
    """Search some tickers for look-ahead; their windows are rebuilt together."""
    samples = {ticker: _sampled_rows(of_ticker, num_samples, seed) for ticker, of_ticker in windows.items()}
    findings: dict[str, list[tuple[int, str, str]]] = {ticker: [] for ticker in windows}
    for nth in range(max((len(rows) for rows in samples.values()), default=0)):
        chosen = {ticker: int(rows[nth]) for ticker, rows in samples.items() if nth < len(rows)}
        cuts = {ticker: windows[ticker].sessions[row].item() for ticker, row in chosen.items()}
        rebuilt = build(_altered_after(bars, cuts, np.random.default_rng([seed, nth])), calendar, config)
        for ticker, row in chosen.items():
            if moved := _moved(windows[ticker], rebuilt.get(ticker), cuts[ticker]):
                findings[ticker].append((row, MOVED_BY_LATER_BARS, moved))
    own = {key[0]: of_ticker for key, of_ticker in bars.sort("session").partition_by("ticker", as_dict=True).items()}
    for ticker, rows in samples.items():
        sessions: Sessions = own[ticker]["session"].to_numpy().astype("datetime64[D]")
        closes = own[ticker]["close"].to_numpy()
        findings[ticker] += _wrongly_scaled(windows[ticker], rows, closes)
        findings[ticker] += _wrongly_labelled(windows[ticker], rows, sessions, closes, calendar)
    return {ticker: _leaks(windows[ticker], len(samples[ticker]), found) for ticker, found in findings.items()}


def _leaks(windows: WindowSet, num_sampled: int, findings: list[tuple[int, str, str]]) -> WindowLeaks:
    kinds = {kind: len({row for row, k, _ in findings if k == kind}) for _, kind, _ in findings}
    first = None
    if findings:
        row, kind, what = findings[0]
        first = f"the window of {windows.ticker} on {windows.sessions[row]} is {kind}: {what}"
    return WindowLeaks(ticker=windows.ticker, num_sampled=num_sampled, leaks=MappingProxyType(kinds), first=first)


def _sampled_rows(windows: WindowSet, num_samples: int, seed: int) -> Rows:
    """One window from each of several equal stretches of history, and the newest one that has a later bar."""
    num_windows = int(np.count_nonzero(windows.sessions < windows.bar_sessions[-1])) if len(windows) else 0
    if num_windows <= num_samples:
        return np.arange(num_windows)
    rng = np.random.default_rng([seed, *windows.ticker.encode()])
    edges: list[int] = np.linspace(0, num_windows - 1, num_samples).astype(np.int64).tolist()
    drawn = [int(rng.integers(first, stop)) for first, stop in pairwise(edges)]
    return np.array([*drawn, num_windows - 1][:num_samples], dtype=np.int64)


def _altered_after(bars: pl.DataFrame, cuts: Mapping[str, date], rng: np.random.Generator) -> pl.DataFrame:
    """The bars with every value after each ticker's cut replaced by another one that makes a valid bar."""
    factors = [pl.Series(rng.uniform(low, high, len(bars))) for low, high in ((0.5, 2), (0.5, 2), (1, 1.3), (0.7, 1))]
    opening, closing, above, below = factors
    cut = pl.col("ticker").replace_strict(list(cuts), list(cuts.values()), default=None, return_dtype=pl.Date)
    open_, close = pl.col("open") * opening, pl.col("close") * closing
    values = {
        "open": open_,
        "high": pl.max_horizontal(open_, close) * above,
        "low": pl.min_horizontal(open_, close) * below,
        "close": close,
        "volume": pl.col("volume") * closing + 1000 * opening,
    }
    return bars.with_columns(
        pl.when(pl.col("session") > cut).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def _moved(windows: WindowSet, rebuilt: WindowSet | None, cut: date) -> str | None:
    """The part of the windows up to a session that changed after later bars were altered; None if nothing changed."""
    if rebuilt is None:
        return "it no longer exists"
    day = np.datetime64(cut)
    num_windows = int(np.searchsorted(windows.sessions, day, side="right"))
    if not np.array_equal(windows.sessions[:num_windows], rebuilt.sessions[rebuilt.sessions <= day]):
        return f"other sessions up to {cut} have a window"
    num_bars = int(windows.ends[num_windows - 1]) + 1
    differing = _differing(windows.inputs[:num_bars], rebuilt.inputs[:num_bars])
    if differing.any():
        bar, column = np.argwhere(differing)[-1]
        return f"{INPUTS[column]} of {windows.bar_sessions[bar]}"
    for name in OF_A_WINDOW:
        differing = _differing(getattr(windows, name)[:num_windows], getattr(rebuilt, name)[:num_windows])
        if differing.any():
            row, *column = np.argwhere(differing)[-1]
            return f"{name}{''.join(f' of {INPUTS[n]}' for n in column)} of the window of {windows.sessions[row]}"
    return None


def _wrongly_scaled(windows: WindowSet, rows: Rows, closes: Float64s) -> Iterator[tuple[int, str, str]]:
    """Parts of sampled windows that differ from those computed from their own rows; one call gathers all windows."""
    gathered = windows.gather(np.append(rows, 0)) if len(rows) else np.empty(0)
    for n, row in enumerate(rows.tolist()):
        stop = int(windows.ends[row]) + 1
        own, own_closes = (
            windows.inputs[stop - windows.window_sessions : stop],
            closes[stop - windows.window_sessions : stop],
        )
        low, high = own.min(axis=0), own.max(axis=0)
        rounding = np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high))
        span = np.where(high - low > rounding, high - low, np.float32(0))
        scaled = np.where(span > 0, (own - low) / np.where(span > 0, span, np.float32(1)), np.float32(0))
        price_span = own_closes.max() - own_closes.min() or 1.0
        plain = {
            "low": low,
            "span": span,
            "gather": scaled,
            "close": own_closes[-1],
            "close_min": own_closes.min(),
            "close_max": own_closes.max(),
            "targets": ((windows.target_prices[row] - own_closes.min()) / price_span).astype(np.float32),
        }
        for name, expected in plain.items():
            found = np.asarray(gathered[n] if name == "gather" else getattr(windows, name)[row])
            differing = _differing(found, np.asarray(expected))
            if differing.any():
                column = f" of {INPUTS[np.argwhere(differing)[0][-1]]}" if name in ("low", "span", "gather") else ""
                yield row, SCALED_BY_WHAT_IS_OUTSIDE, f"{name}{column} is not that of its own bars"
                break


def _wrongly_labelled(
    windows: WindowSet, rows: Rows, sessions: Sessions, closes: Float64s, calendar: Calendar
) -> Iterator[tuple[int, str, str]]:
    """Sampled windows whose labels are not the closes of their three target sessions, each looked up by itself."""
    ends: list[date] = windows.sessions[rows].tolist()
    for row, session in zip(rows.tolist(), ends, strict=True):
        monday = session + timedelta(days=7 - session.weekday())
        while not calendar.is_session(monday):
            monday += timedelta(days=1)
        targets = (calendar.offset(session, 1), monday, calendar.offset(session, 21))
        for horizon, target in enumerate(targets):
            found, price = windows.target_sessions[row, horizon].item(), windows.target_prices[row, horizon]
            bar = closes[sessions == np.datetime64(target)]
            expected = bar[0] if len(bar) else np.nan
            if found != target or not np.array_equal(price, expected, equal_nan=True):
                yield row, LABELLED_BY_ANOTHER_SESSION, f"{price:g} of {found} instead of {expected:g} of {target}"
                break


def _differing(found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> Booleans:
    """Mask of the values that are not the same to the bit. A NaN equals a NaN."""
    if found.shape != expected.shape:
        return np.ones_like(expected, dtype=bool)
    return (found != expected) & ~(np.isnan(found) & np.isnan(expected))
