"""What looks like a split or a dividend that nobody declared, and what does not."""

from datetime import date

import numpy as np
import pytest

from ldtm_lib.prices.splits import Floats
from ldtm_lib.prices.suspected_splits import jump_note, rescaling_note

DAY = date(2024, 3, 1)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (101.25, 55.63, "a crash, or a split of 2 for 1"),
        (100.0, 66.0, "a crash, or a split of 1.5 for 1"),
        (1.0, 10.4, "a leap, or a split of 0.1 for 1"),
    ],
)
def test_a_jump_by_a_splits_ratio_is_noted_with_its_remedy(before: float, after: float, says: str) -> None:
    note = jump_note("XYZ", DAY, before, after, "declare it")
    assert note == f"XYZ goes from {before:g} to {after:g} on 2024-03-01: {says}; if it was a split, declare it"


@pytest.mark.parametrize("after", [100, 80, 75, 130, 8.5])
def test_jumps_that_are_like_no_split_or_too_small_are_not_noted(after: float) -> None:
    assert jump_note("XYZ", DAY, 100, after, "declare it") is None


def prices(num_bars: int = 60, seed: int = 1) -> Floats:
    """(n, 4) open, high, low, close in cents."""
    random = np.random.default_rng(seed)
    close = 80 * np.exp(np.cumsum(random.normal(0, 0.02, num_bars)))
    return np.round(close[:, None] * np.array([1.001, 1.013, 0.988, 1.0]), 2)


@pytest.mark.parametrize("yield_", [0.004, 0.0125, 0.06, -0.02])
@pytest.mark.parametrize("rounded", [True, False])
def test_bars_before_a_dividend_that_arrive_at_a_constant_multiple_are_noted(yield_: float, rounded: bool) -> None:
    stored = prices()
    delivered = stored.copy()
    delivered[:50] *= 1 - yield_
    if rounded:
        delivered = np.round(delivered, 2)
    note = rescaling_note("XYZ", stored, delivered)
    assert note is not None
    multiple = float(note.partition("newest of them at ")[2].split()[0])
    # Three bars of about 80 in cents give the ratio to a cent in 80 at worst.
    assert multiple == pytest.approx(1 - yield_, abs=1.3e-4)
    assert note.startswith("XYZ: 50 of 60 stored bars arrive at other prices")
    assert note.endswith("use prices that are adjusted for splits only")


def test_after_two_dividends_the_newest_is_named() -> None:
    stored = prices()
    delivered = stored.copy()
    delivered[:50] *= 0.99
    delivered[:20] *= 0.98
    assert "50 of 60 stored bars arrive at other prices, the newest of them at 0.99 times" in str(
        rescaling_note("XYZ", stored, delivered)
    )


def test_splits_corrections_and_roundings_are_no_rescaling() -> None:
    stored = prices()
    assert rescaling_note("XYZ", stored, stored) is None
    assert rescaling_note("XYZ", stored, stored / 2) is None
    assert rescaling_note("XYZ", stored, np.round(stored + 0.004, 2)) is None
    two = stored.copy()
    two[7:9] *= 0.97
    assert rescaling_note("XYZ", stored, two) is None
    noisy = stored * np.random.default_rng(2).uniform(0.98, 0.99, (60, 1))
    assert rescaling_note("XYZ", stored, noisy) is None
    closes_only = stored.copy()
    closes_only[:, 3] *= 0.99
    assert rescaling_note("XYZ", stored, closes_only) is None
    assert rescaling_note("XYZ", stored[:0], stored[:0]) is None
