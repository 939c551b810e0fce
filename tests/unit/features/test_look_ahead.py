"""Windows that know the future: none of real bars, and every one that is planted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
import pytest

from ldtm_lib.features import look_ahead
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.look_ahead import (
    LABELLED_BY_ANOTHER_SESSION,
    MOVED_BY_LATER_BARS,
    SCALED_BY_WHAT_IS_OUTSIDE,
    Build,
    WindowLeaks,
    window_leaks,
)
from ldtm_lib.features.scaling import Float32s, scale, sliding, spans
from ldtm_lib.features.window_set import Rows, WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.prices.bars import validate
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import WindowConfig
from tests.unit.features.made_bars import PRICES, SAMPLE_TICKERS, Bars

CONFIG = WindowConfig()
Plant = Callable[[WindowSet, pl.DataFrame], WindowSet]


def planted(plant: Plant) -> Build:
    """The real build with something done to every ticker's windows, which knows that ticker's bars."""

    def build(bars: pl.DataFrame, calendar: Calendar, config: WindowConfig) -> Mapping[str, WindowSet]:
        return {
            ticker: plant(windows, bars.filter(pl.col("ticker") == ticker).sort("session"))
            for ticker, windows in windows_of(bars, calendar, config).items()
        }

    return build


def searched(
    bars: pl.DataFrame, calendar: Calendar, build: Build = windows_of, *, num_samples: int = 3, seed: int = 0
) -> dict[str, WindowLeaks]:
    windows = build(bars, calendar, CONFIG)
    return window_leaks(bars, windows, calendar, CONFIG, num_samples=num_samples, seed=seed, build=build)


def with_column(windows: WindowSet, name: str, values: pl.Series) -> WindowSet:
    """The windows with another input, scaled by itself as it ought to be: only the values know too much."""
    inputs = windows.inputs.copy()
    inputs[:, INPUTS.index(name)] = values.fill_null(1.0).to_numpy()
    starts = windows.ends - (windows.window_sessions - 1)
    low = sliding(np.minimum, inputs, windows.window_sessions)[starts]
    return replace(
        windows, inputs=inputs, low=low, span=spans(low, sliding(np.maximum, inputs, windows.window_sessions)[starts])
    )


def centred_average(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    return with_column(windows, "close_to_ma_5", bars["close"] / bars["close"].rolling_mean(5, center=True))


def backward_filled(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    """Every second volume missing, and taken from the next bar."""
    missing = pl.int_range(pl.len()) % 2 == len(bars) % 2
    filled = bars.select(pl.when(missing).then(None).otherwise("volume").alias("volume")).select(
        pl.col("volume").fill_null(strategy="backward")
    )
    return with_column(windows, "volume", filled["volume"])


def standardised_over_history(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    close = bars["close"]
    return with_column(windows, "close", (close - close.mean()) / close.std())


def divided_by_the_next_bar(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    return with_column(windows, "open", bars["open"] / bars["open"].shift(-1))


def ranged_over_history(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    finite = windows.inputs[19:]
    low, high = finite.min(axis=0), finite.max(axis=0)
    return replace(windows, low=np.tile(low, (len(windows), 1)), span=np.tile(high - low, (len(windows), 1)))


def ranged_over_one_bar_more(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    """A window's range that takes in the bar before it: no later bar moves it, and it is not the window's own."""
    longer = np.maximum(windows.ends - windows.window_sessions, 19)
    low = np.minimum(windows.low, windows.inputs[longer])
    return replace(windows, low=low, span=spans(low, np.maximum(windows.low + windows.span, windows.inputs[longer])))


def only_winners(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    """Only windows after which the price rose: none of them knows a later bar, and that it is there does."""
    closes = dict(zip(bars["session"].to_numpy().tolist(), bars["close"].to_list(), strict=True))
    rose = np.array(
        [
            closes.get(days[0], 0.0) > close
            for days, close in zip(windows.target_sessions.tolist(), windows.close.tolist(), strict=True)
        ]
    )
    kept = {
        field.name: getattr(windows, field.name)[rose]
        for field in fields(WindowSet)
        if field.name not in ("ticker", "window_sessions", "inputs", "bar_sessions")
    }
    return replace(windows, **kept)


def dated_one_bar_early(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    """Windows that end in the bar after the session that they are said to be of."""
    return replace(windows, sessions=windows.bar_sessions[windows.ends - 1])


def later_close(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    return replace(windows, close=np.append(windows.close[1:], windows.close[-1]))


def label_of_the_session_after(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    prices = np.concatenate([windows.target_prices[1:], windows.target_prices[-1:]])
    price_range = np.where(windows.close_max > windows.close_min, windows.close_max - windows.close_min, 1)
    return replace(
        windows,
        target_prices=prices,
        targets=((prices - windows.close_min[:, None]) / price_range[:, None]).astype(np.float32),
    )


def label_of_the_session_itself(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    """A next-day label that is of today, and says so: its purge ends a day too late."""
    sessions = windows.target_sessions.copy()
    sessions[:, 0] = windows.sessions
    return replace(windows, target_sessions=sessions)


def targets_ranged_over_history(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
    low, high = windows.close_min.min(), windows.close_max.max()
    return replace(windows, targets=((windows.target_prices - low) / (high - low)).astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OtherWindowsRange(WindowSet):
    """Gathers each window with the range of the one after it."""

    def gather(self, rows: Rows) -> Float32s:
        others = np.minimum(rows + 1, len(self) - 1)
        shifted = replace(self, low=self.low[others], span=self.span[others], ends=self.ends[rows])
        return WindowSet.gather(shifted, np.arange(len(rows)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RangeOfTheBatch(WindowSet):
    """Gathers windows with one range for all that are asked for at once."""

    def gather(self, rows: Rows) -> Float32s:
        raw = np.stack([self.inputs[end - self.window_sessions + 1 : end + 1] for end in self.ends[rows]])
        low, high = raw.min(axis=(0, 1)), raw.max(axis=(0, 1))
        return scale(raw, np.tile(low, (len(rows), 1)), np.tile(high - low, (len(rows), 1)))


def as_kind(kind: type[WindowSet]) -> Plant:
    def plant(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
        return kind(**{field.name: getattr(windows, field.name) for field in fields(WindowSet)})

    return plant


MOVED, SCALED, LABELLED = {MOVED_BY_LATER_BARS}, {SCALED_BY_WHAT_IS_OUTSIDE}, {LABELLED_BY_ANOTHER_SESSION}
PLANTED: dict[str, tuple[Plant, set[str]]] = {
    "a centred moving average": (centred_average, MOVED),
    "a column filled from the next bar": (backward_filled, MOVED),
    "an input standardised over all of history": (standardised_over_history, MOVED),
    "an input divided by the next bar": (divided_by_the_next_bar, MOVED),
    "ranges over all of history": (ranged_over_history, MOVED | SCALED),
    "ranges over a window and the bar before it": (ranged_over_one_bar_more, SCALED),
    "only windows before a rise": (only_winners, MOVED),
    "windows dated one bar early": (dated_one_bar_early, MOVED | LABELLED),
    "the close of the next window": (later_close, MOVED | SCALED),
    "labels of the session after": (label_of_the_session_after, LABELLED),
    "a label of the session itself": (label_of_the_session_itself, LABELLED),
    "targets ranged over all of history": (targets_ranged_over_history, SCALED),
    "the range of another window": (as_kind(OtherWindowsRange), SCALED),
    "the range of a batch": (as_kind(RangeOfTheBatch), SCALED),
}


def test_real_bars_have_no_window_that_knows_the_future(sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    found = searched(sample_bars, calendar, num_samples=10)
    assert {ticker: (f.num_sampled, dict(f.leaks), f.first) for ticker, f in found.items()} == {
        ticker: (10, {}, None) for ticker in SAMPLE_TICKERS
    }


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_leak_is_caught_in_every_ticker(name: str, sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    plant, kinds = PLANTED[name]
    # Whether there is a window is a single bit, which an altered bar leaves as it was every other time.
    for found in searched(sample_bars, calendar, planted(plant), num_samples=10).values():
        assert set(found.leaks) == kinds, found.first
        assert found.first is not None
        assert found.first.startswith(f"the window of {found.ticker} on ")
        assert all(1 <= count <= found.num_sampled == 10 for count in found.leaks.values())


def test_a_single_window_is_not_gathered_alone(sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    """Ranges over a batch are a window's own where there is no other in it."""
    found = searched(sample_bars, calendar, planted(as_kind(RangeOfTheBatch)), num_samples=1)
    assert {ticker: dict(f.leaks) for ticker, f in found.items()} == {
        ticker: {SCALED_BY_WHAT_IS_OUTSIDE: 1} for ticker in SAMPLE_TICKERS
    }


def test_the_first_leak_is_reported_with_its_session_and_input(make: Bars, calendar: Calendar) -> None:
    bars = make.walk(300)
    last, before, *_ = reversed(bars["session"].to_list())
    found = searched(bars, calendar, planted(divided_by_the_next_bar), num_samples=1)["T"]
    assert found.first == f"the window of T on {before} is moved by later bars: open of {before}"
    found = searched(bars, calendar, planted(label_of_the_session_after), num_samples=1)["T"]
    close = bars["close"][-1]
    assert found.first == (
        f"the window of T on {before} is labelled by another session: nan of {last} instead of {close:g} of {last}"
    )
    found = searched(bars, calendar, planted(targets_ranged_over_history), num_samples=1)["T"]
    assert found.first == (
        f"the window of T on {before} is scaled by what is outside: targets is not that of its own bars"
    )
    found = searched(bars, calendar, planted(as_kind(OtherWindowsRange)))["T"]
    assert found.first is not None
    assert "is scaled by what is outside: gather of " in found.first


def test_the_sample_reaches_from_the_first_half_of_history_to_the_newest_window_with_a_later_bar(
    sample_bars: pl.DataFrame, calendar: Calendar
) -> None:
    """Leaks at one place of history alone, each met by the one sample that must lie there."""

    def at_the_end(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
        early = pl.int_range(pl.len()) < pl.len() - 2
        return with_column(
            windows, "open", bars.select(pl.when(early).then("open").otherwise(pl.col("open").last()))["open"]
        )

    def in_the_first_half(windows: WindowSet, bars: pl.DataFrame) -> WindowSet:
        early = pl.int_range(pl.len()) < 48 + (pl.len() - 48) // 2
        return with_column(
            windows, "open", bars.select(pl.when(early).then(pl.col("open").shift(-1)).otherwise("open"))["open"]
        )

    for plant in (at_the_end, in_the_first_half):
        for seed in range(3):
            found = searched(sample_bars, calendar, planted(plant), seed=seed)
            assert {t: dict(f.leaks) for t, f in found.items()} == {t: {MOVED_BY_LATER_BARS: 1} for t in found}


def test_the_sample_of_a_ticker_depends_on_the_seed_and_on_no_other_ticker(
    sample_bars: pl.DataFrame, calendar: Calendar
) -> None:
    build = planted(divided_by_the_next_bar)
    alone = searched(sample_bars.filter(pl.col("ticker") == "IBM"), calendar, build)["IBM"]
    among = searched(sample_bars, calendar, build)
    assert alone == among["IBM"]
    sessions = {found.first.split()[5] for found in among.values() if found.first}
    assert len(sessions) == len(among), "each ticker has a sample of its own"
    assert searched(sample_bars, calendar, build, seed=1)["IBM"].first != alone.first


def test_what_the_windows_are_made_of_again_are_valid_bars_that_differ_in_every_later_value(
    sample_bars: pl.DataFrame, calendar: Calendar
) -> None:
    given: list[pl.DataFrame] = []

    def build(bars: pl.DataFrame, calendar: Calendar, config: WindowConfig) -> Mapping[str, WindowSet]:
        given.append(bars)
        return windows_of(bars, calendar, config)

    aapl = sample_bars.filter(pl.col("ticker") == "AAPL")
    searched(aapl, calendar, build)
    assert len(given) == 1 + 3
    cuts: list[int] = []
    for altered in given[1:]:
        assert validate(altered, calendar).refused.is_empty()
        differs = np.stack([(altered[name] != aapl[name]).to_numpy() for name in PRICES])
        cut = int(differs[0].argmax())
        assert not differs[:, :cut].any()
        assert differs[:, cut:].all()
        cuts.append(cut)
    assert cuts == sorted(cuts)
    assert cuts[-1] == len(aapl) - 1


def test_a_ticker_without_a_window_that_has_a_later_bar_is_not_sampled(make: Bars, calendar: Calendar) -> None:
    bars = pl.concat([make.walk(48, ticker="FEW"), make.walk(49, ticker="ONE"), make.walk(50, ticker="TWO")])
    found = searched(bars, calendar, planted(divided_by_the_next_bar))
    assert {ticker: f.num_sampled for ticker, f in found.items()} == {"FEW": 0, "ONE": 0, "TWO": 1}
    assert found["ONE"] == WindowLeaks(ticker="ONE", num_sampled=0)
    assert found["TWO"].leaks == {MOVED_BY_LATER_BARS: 1}
    assert searched(bars, calendar, num_samples=0)["TWO"].num_sampled == 0


@pytest.mark.parametrize("tickers_at_once", [1, 2])
def test_a_search_of_some_tickers_at_a_time_finds_what_one_of_all_does(
    tickers_at_once: int, sample_bars: pl.DataFrame, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaky = planted(centred_average)
    expected = [searched(sample_bars, calendar), searched(sample_bars, calendar, leaky)]
    assert any(each.leaks for each in expected[1].values())
    monkeypatch.setattr(look_ahead, "TICKERS_AT_ONCE", tickers_at_once)
    assert [searched(sample_bars, calendar), searched(sample_bars, calendar, leaky)] == expected
