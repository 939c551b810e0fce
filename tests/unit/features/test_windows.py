"""Windows against a plain loop, what they may know, and bad bars."""

import hashlib
from dataclasses import fields
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldtm_lib.features import windows as windows_module
from ldtm_lib.features.indicators import add_indicators
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import WindowConfig

CONFIG = WindowConfig()
OPEN, CLOSE, VOLUME = INPUTS.index("open"), INPUTS.index("close"), INPUTS.index("volume")


def windows(bars: pl.DataFrame, calendar: Calendar, ticker: str = "T") -> WindowSet:
    return windows_of(bars, calendar, CONFIG)[ticker]


def scaled(w: WindowSet) -> np.ndarray:
    return w.gather(np.arange(len(w)))


def assert_same(left: WindowSet, right: WindowSet) -> None:
    """Bit for bit, field by field."""
    for field in fields(WindowSet):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), err_msg=field.name)


def plain_windows(bars: pl.DataFrame, calendar: Calendar) -> list[dict[str, Any]]:
    """Every window of one ticker by one loop over its bars, as the terms of the project say it."""
    rows = add_indicators(bars).to_dicts()
    close_on = {row["session"]: row["close"] for row in rows}
    found = []
    for end in range(29, len(rows)):
        held = rows[end - 29 : end + 1]
        sessions = [row["session"] for row in held]
        if calendar.between(sessions[0], sessions[-1]) != sessions or any(
            row[c] is None for row in held for c in INPUTS
        ):
            continue
        columns = []
        for name in INPUTS:
            column = np.array([row[name] for row in held], dtype=np.float32)
            low, span = column.min(), column.max() - column.min()
            columns.append((column - low) / span if span else np.zeros_like(column))
        closes = [row["close"] for row in held]
        low, span = min(closes), (max(closes) - min(closes)) or 1.0
        targets = calendar.targets(sessions[-1]).as_tuple()
        prices = [close_on.get(target) for target in targets]
        found.append(
            {
                "session": sessions[-1],
                "inputs": np.stack(columns, axis=1),
                "target_sessions": list(targets),
                "prices": prices,
                "targets": [None if p is None else np.float32((p - low) / span) for p in prices],
            }
        )
    return found


def assert_matches_plain(w: WindowSet, expected: list[dict[str, Any]]) -> None:
    assert w.sessions.tolist() == [e["session"] for e in expected]
    assert w.target_sessions.tolist() == [e["target_sessions"] for e in expected]
    assert w.labelled.tolist() == [None not in e["prices"] for e in expected]
    np.testing.assert_array_equal(scaled(w), np.array([e["inputs"] for e in expected]).reshape(-1, 30, 11))
    np.testing.assert_array_equal(w.target_prices, np.array([e["prices"] for e in expected], float).reshape(-1, 3))
    np.testing.assert_array_equal(w.targets, np.array([e["targets"] for e in expected], np.float32).reshape(-1, 3))


@pytest.mark.parametrize("ticker", ["AAPL", "FB"])
def test_windows_of_real_bars_equal_the_plain_loop(sample_bars: pl.DataFrame, calendar: Calendar, ticker: str) -> None:
    since = date(2011, 6, 1)
    bars = sample_bars.filter(pl.col("session") >= since)
    mine = bars.filter(pl.col("ticker") == ticker)
    assert_matches_plain(windows(bars, calendar, ticker), plain_windows(mine, calendar))


@settings(max_examples=25)
@given(gaps=st.sets(st.integers(0, 139), max_size=4), seed=st.integers(0, 99))
def test_windows_around_missing_sessions_equal_the_plain_loop(
    make: Any, calendar: Calendar, gaps: set[int], seed: int
) -> None:
    bars = make.walk(140, seed=seed).filter(~pl.int_range(pl.len()).is_in(list(gaps)))
    assert_matches_plain(windows(bars, calendar), plain_windows(bars, calendar))


def test_no_window_spans_a_missing_session(make: Any, calendar: Calendar) -> None:
    bars = make.walk(120)
    gone = bars["session"][60]
    w = windows(bars.filter(pl.col("session") != gone), calendar)
    assert w.sessions.tolist() == bars["session"][48:60].to_list() + bars["session"][90:].to_list()


def test_the_sample_gives_a_window_to_every_session_from_the_forty_ninth(
    sample_bars: pl.DataFrame, calendar: Calendar
) -> None:
    sets = windows_of(sample_bars, calendar, CONFIG)
    assert {t: len(w) for t, w in sets.items()} == {"AAPL": 3222, "FB": 148, "GOOG": 2100, "IBM": 3222, "MSFT": 3222}
    for w in sets.values():
        assert len(w) - w.labelled.sum() == 21
        assert w.inputs.flags.c_contiguous
        assert np.isfinite(scaled(w)).all()
        np.testing.assert_array_equal(w.sessions, w.bar_sessions[w.ends])


def test_gathering_some_rows_gives_those_rows_in_that_order(make: Any, calendar: Calendar) -> None:
    w = windows(make.walk(100), calendar)
    rows = np.array([40, 3, 3, 51])
    np.testing.assert_array_equal(w.gather(rows), scaled(w)[rows])
    assert w.gather(rows).flags.c_contiguous
    assert w.gather(np.array([], dtype=np.int64)).shape == (0, 30, 11)


def test_gathering_leaves_the_bars_as_they_were(make: Any, calendar: Calendar) -> None:
    w = windows(make.walk(100), calendar)
    before = w.data_sha256()
    scaled(w)
    assert w.data_sha256() == before


def test_targets_unscale_to_the_prices_they_were_made_from(sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    w = windows(sample_bars, calendar, "AAPL")
    rows = np.flatnonzero(w.labelled)
    # Targets are float32: 6e-8 of a target, which is at most a few dozen window ranges.
    np.testing.assert_allclose(w.unscale(w.targets[rows], rows), w.target_prices[rows], rtol=1e-6)


@settings(max_examples=30)
@given(day=st.integers(0, 139))
def test_what_was_known_by_a_session_equals_the_windows_of_the_bars_until_then(
    make: Any, calendar: Calendar, day: int
) -> None:
    bars = make.walk(140).filter(pl.int_range(pl.len()) != 70)
    cutoff = make.walk(140)["session"][day]
    known = windows(bars, calendar).known_by(cutoff)
    fresh = windows_of(bars.filter(pl.col("session") <= cutoff), calendar, CONFIG)["T"]
    assert_same(known, fresh)
    assert known.data_sha256() == fresh.data_sha256()


def test_a_cutoff_on_a_weekend_knows_friday(make: Any, calendar: Calendar) -> None:
    w = windows(make.walk(140), calendar)
    assert_same(w.known_by(date(2012, 5, 12)), w.known_by(date(2012, 5, 11)))
    assert w.known_by(date(2012, 5, 12)).sessions[-1] == np.datetime64("2012-05-11")


@pytest.mark.parametrize("column", INPUTS[:5])
def test_the_hash_of_the_data_changes_with_any_value_of_any_bar(make: Any, calendar: Calendar, column: str) -> None:
    bars = make.walk(100)
    changed = pl.when(pl.int_range(pl.len()) == 33).then(pl.col(column) * 1.001).otherwise(column).alias(column)
    assert windows(bars, calendar).data_sha256() != windows(bars.with_columns(changed), calendar).data_sha256()


def test_the_hash_of_the_data_ignores_other_tickers(sample_bars: pl.DataFrame, calendar: Calendar) -> None:
    alone = windows(sample_bars.filter(pl.col("ticker") == "IBM"), calendar, "IBM")
    together = windows(sample_bars, calendar, "IBM")
    assert_same(alone, together)
    assert alone.data_sha256() == together.data_sha256()


def test_a_missing_target_session_is_an_unknown_label_and_the_window_stays(make: Any, calendar: Calendar) -> None:
    bars = make.walk(120)
    gone, before = bars["session"][100], bars["session"][99]
    w = windows(bars.filter(pl.col("session") != gone), calendar)
    row = w.sessions.tolist().index(before)
    assert w.target_sessions[row, 0] == np.datetime64(gone)
    assert np.isnan(w.targets[row, 0])
    assert not w.labelled[row]


def test_a_week_without_volume_scales_to_the_bottom_of_its_windows(make: Any, calendar: Calendar) -> None:
    quiet = pl.int_range(pl.len()).is_between(60, 64)
    w = windows(make.walk(120).with_columns(pl.when(quiet).then(0.0).otherwise("volume").alias("volume")), calendar)
    assert len(w) == 120 - 48
    row = w.ends.tolist().index(70)
    assert (scaled(w)[row, 19:24, VOLUME] == 0).all()
    assert scaled(w)[row, :, VOLUME].max() == 1


def test_a_window_without_any_volume_or_any_move_is_all_0_and_its_targets_have_span_1(
    make: Any, calendar: Calendar
) -> None:
    walk = make.walk(80)["close"].to_list()
    bars = make.of_closes([*walk, *[77.7] * 60, 80.0])
    still = pl.int_range(pl.len()).is_between(80, 139)
    flat = [pl.when(still).then("close").otherwise(c).alias(c) for c in ("open", "high", "low")]
    bars = bars.with_columns(*flat, pl.when(still).then(0.0).otherwise("volume").alias("volume"))
    w = windows(bars, calendar)
    # 20 bars after the last move MA-20 stands still as well: bars 100 to 129 and later are a window of nothing.
    for end in range(129, 140):
        row = w.ends.tolist().index(end)
        assert (scaled(w)[row] == 0).all(), end
        assert w.close_min[row] == w.close_max[row] == 77.7
    last = w.ends.tolist().index(139)
    assert w.targets[last, 0] == np.float32(80.0 - 77.7)
    np.testing.assert_allclose(w.unscale(w.targets[[last]], np.array([last]))[0, 0], 80.0, rtol=1e-6)


def test_a_ticker_too_short_has_no_windows_and_does_not_disturb_the_others(make: Any, calendar: Calendar) -> None:
    longer, short = make.walk(60, ticker="T"), make.walk(25, ticker="SHORT")
    sets = windows_of(pl.concat([longer, short]), calendar, CONFIG)
    assert_same(sets["T"], windows(longer, calendar))
    assert len(sets["SHORT"]) == 0
    assert sets["SHORT"].inputs.shape == (25, 11)
    assert scaled(sets["SHORT"]).shape == (0, 30, 11)
    assert sets["SHORT"].target_sessions.shape == sets["SHORT"].targets.shape == (0, 3)


@pytest.mark.parametrize("num_bars", [1, 29, 30, 48])
def test_fewer_than_49_bars_give_no_window(make: Any, calendar: Calendar, num_bars: int) -> None:
    assert len(windows(make.walk(num_bars), calendar)) == 0


def test_no_bars_give_no_window_sets(make: Any, calendar: Calendar) -> None:
    assert windows_of(make.walk(0), calendar, CONFIG) == {}


@pytest.mark.parametrize("column", ["open", "volume", "close"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_no_window_holds_a_value_that_float32_cannot_hold(
    make: Any, calendar: Calendar, column: str, value: float
) -> None:
    spoilt = pl.when(pl.int_range(pl.len()) == 100).then(value).otherwise(column).alias(column)
    w = windows(make.walk(200).with_columns(spoilt), calendar)
    assert np.isfinite(scaled(w)).all()
    assert len(w) >= 100 - 48
    assert not np.isin(np.arange(100, 130), w.ends).any()
    assert not np.isinf(w.targets).any()


def test_a_zero_close_never_becomes_an_infinite_return_in_a_window(make: Any, calendar: Calendar) -> None:
    zero = pl.when(pl.int_range(pl.len()) == 100).then(0.0).otherwise("close").alias("close")
    w = windows(make.walk(200).with_columns(zero), calendar)
    assert np.isfinite(scaled(w)).all()
    assert w.ends.tolist() == [*range(48, 100), *range(135, 200)]


def test_the_data_hash_covers_what_its_docstring_says(make: Any, calendar: Calendar) -> None:
    w = windows(make.walk(49), calendar)
    digest = hashlib.sha256()
    for name, kind in [
        ("inputs", "<f4"),
        ("bar_sessions", "<M8[D]"),
        ("ends", "<i8"),
        ("low", "<f4"),
        ("span", "<f4"),
        ("close", "<f8"),
        ("close_min", "<f8"),
        ("close_max", "<f8"),
        ("target_sessions", "<M8[D]"),
        ("target_prices", "<f8"),
        ("targets", "<f4"),
    ]:
        array = getattr(w, name)
        digest.update(f"{name}{kind}{array.shape}".encode() + array.astype(kind).tobytes())
    assert w.data_sha256() == digest.hexdigest()


def test_windows_do_not_depend_on_how_many_tickers_are_computed_at_once(
    sample_bars: pl.DataFrame, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = windows_of(sample_bars, calendar, CONFIG)
    monkeypatch.setattr(windows_module, "TICKERS_AT_ONCE", 2)
    in_passes = windows_of(sample_bars, calendar, CONFIG)
    assert list(in_passes) == list(together)
    for ticker, expected in together.items():
        assert_same(in_passes[ticker], expected)
