"""What is another price basis, and what is a correction."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from ldtm_lib.prices.bars import BAR_SCHEMA, PRICE_COLUMNS
from ldtm_lib.prices.mixed_bases import Prices, Rescaled, Transition, rescaled_bars, transitions_between
from ldtm_lib.prices.split_ratios import Floats

SESSIONS = pl.date_range(date(2024, 1, 1), date(2024, 2, 29), eager=True)


def prices(num_bars: int = 60, seed: int = 1) -> Floats:
    """(n, 4) open, high, low, close in cents."""
    random = np.random.default_rng(seed)
    close = 80 * np.exp(np.cumsum(random.normal(0, 0.02, num_bars)))
    return np.round(close[:, None] * np.array([1.001, 1.013, 0.988, 1.0]), 2)


def bars(values: Floats, first: int = 0) -> pl.DataFrame:
    columns = {"ticker": ["XYZ"] * len(values), "session": SESSIONS[first : first + len(values)]}
    columns |= dict(zip(PRICE_COLUMNS, values.T, strict=True)) | {"volume": np.ones(len(values))}
    return pl.DataFrame(columns).cast(dict(BAR_SCHEMA))


def compared(stored: Floats, delivered: Floats, first: int = 0) -> Rescaled | None:
    old, new = bars(stored), bars(delivered, first)
    return rescaled_bars(Prices.restated(new, new), Prices.restated(old, old), old.select("session", "close"))


@pytest.mark.parametrize("yield_", [0.004, 0.0125, 0.06, -0.02])
@pytest.mark.parametrize("rounded", [True, False])
def test_bars_before_a_dividend_that_arrive_at_a_constant_multiple_are_another_basis(
    yield_: float, rounded: bool
) -> None:
    stored = prices()
    delivered = stored * (1 - yield_)
    found = compared(stored, np.round(delivered, 2)[20:] if rounded else delivered[20:], 20)
    assert found is not None
    assert found.is_mixed
    assert found.message.startswith("40 of 40 stored bars arrive at ")
    multiple = float(found.message.partition("arrive at ")[2].split()[0])
    assert multiple == pytest.approx(1 - yield_, abs=1.3e-4)
    assert "which is not a split ratio: dividends taken out on one side only, or a spin-off" in found.message


def test_all_stored_bars_may_be_replaced() -> None:
    stored = prices()
    delivered = stored.copy()
    delivered[:50] *= 0.99
    delivered[:20] *= 0.98
    found = compared(stored, delivered)
    assert found is not None
    assert not found.is_mixed
    assert found.message.startswith("50 of 60 stored bars arrive at 0.9702 and 0.99 times their prices")


def test_a_stored_bar_between_the_delivered_ones_is_mixed_with_them() -> None:
    stored = prices()
    old, new = bars(stored), bars(stored * 0.97)
    lacking = new.filter(pl.col("session") != SESSIONS[30])
    found = rescaled_bars(Prices.restated(lacking, lacking), Prices.restated(old, old), old.select("session", "close"))
    assert found is not None
    assert found.is_mixed


def test_a_run_within_the_delivery_is_no_mixture_and_one_at_its_end_is() -> None:
    right = prices()
    wrong = right.copy()
    wrong[20:23] *= 2
    for stored, delivered in ((wrong, right), (right, wrong)):
        within, at_the_end = compared(stored, delivered[18:30], 18), compared(stored, delivered[20:30], 20)
        assert within is not None
        assert not within.is_mixed
        assert at_the_end is not None
        assert at_the_end.is_mixed, "a crash that is restated looks the same"


def test_splits_that_the_decimals_do_not_tell_are_said_to_be_several() -> None:
    found = compared(np.full((10, 4), 0.1), np.full((5, 4), 10.0), 5)
    assert found is not None
    assert found.is_mixed
    assert found.message == "5 of 5 stored bars arrive at 100 times their prices, whose decimals allow several splits"


def test_corrections_and_roundings_are_no_other_basis() -> None:
    stored = prices()
    assert compared(stored, stored) is None
    assert compared(stored, np.round(stored + 0.004, 2)) is None
    two = stored.copy()
    two[7:9] *= 0.97
    assert compared(stored, two) is None
    noisy = stored * np.random.default_rng(2).uniform(0.97, 0.99, (60, 4))
    assert compared(stored, noisy) is None
    closes_only = stored.copy()
    closes_only[:, 3] *= 0.99
    assert compared(stored, closes_only) is None
    assert compared(stored, stored[30:31] * 0.995, 30) is None


def test_transitions_are_neighbours_of_which_one_is_stored_where_none_is_both() -> None:
    stored = bars(prices()).select("session", "close")
    assert transitions_between(stored[10:20], stored) == []
    found = transitions_between(stored[10:20], pl.concat([stored[:10], stored[22:]]))
    assert [(transition.session, transition.later_session) for transition in found] == [
        (SESSIONS[9], SESSIONS[10]),
        (SESSIONS[19], SESSIONS[22]),
    ]
    assert not any(transition.is_large or transition.is_gap for transition in found)


def test_a_large_move_is_one_that_may_be_a_split_and_a_gap_one_of_more_than_a_month() -> None:
    transition = Transition(session=date(2022, 1, 28), close=12.31, later_session=date(2022, 6, 9), later_close=184)
    assert transition.is_large
    assert transition.is_gap
    assert transition.move == "from 12.31 on 2022-01-28 to 184 on 2022-06-09"
    assert Transition(session=date(2022, 1, 3), close=10, later_session=date(2022, 1, 4), later_close=5).is_large
    assert not Transition(session=date(2022, 1, 3), close=10, later_session=date(2022, 1, 4), later_close=7).is_large
