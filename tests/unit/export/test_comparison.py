from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.export.comparison import BATCH_SIZES, compare
from ldtm_lib.export.edge_cases import PricedWindows, edge_cases, priced_edge_cases
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.ledger.drafts import direction


def one_window(scaled_next_day: float, band: float) -> tuple[PricedWindows, np.ndarray]:
    """A close of 100 in a range from 90 to 110."""
    windows = PricedWindows(
        inputs=np.zeros((1, 30, 11), np.float32),
        close=np.array([100.0]),
        close_min=np.array([90.0]),
        close_max=np.array([110.0]),
        bands=np.array([band]),
    )
    return windows, np.array([[scaled_next_day, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("reference", "found", "band", "changed", "at_edges"),
    [
        (0.60, 0.60, 0.001, 0, 0),
        (0.60, 0.61, 0.001, 0, 0),  # bullish both times
        (0.60, 0.40, 0.001, 1, 0),
        (0.60, 0.50, 0.001, 1, 0),  # bullish, neutral
        (0.505001, 0.504999, 0.001, 0, 1),  # on both sides of the band's edge
        (0.494999, 0.495001, 0.001, 0, 1),
        (0.505001, 0.40, 0.001, 0, 1),  # the reference is at the edge; the difference fails by itself
        (0.500001, 0.499999, 0.0, 0, 1),  # a band of nothing has its edge at no change
    ],
)
def test_changed_directions_count_outside_the_edges_of_the_band(
    reference: float, found: float, band: float, changed: int, at_edges: int
) -> None:
    windows, expected = one_window(reference, band)
    differences = compare(windows, expected, lambda inputs: np.tile([found, 0.5, 0.5], (len(inputs), 1)))
    num_rows = sum(BATCH_SIZES)
    assert differences.changed_directions == changed * num_rows
    assert differences.changed_at_edges == at_edges * num_rows


@given(reference=st.floats(-2, 3), found=st.floats(-2, 3), band=st.sampled_from([0.0, 0.001, 0.05]))
def test_directions_are_those_of_the_record(reference: float, found: float, band: float) -> None:
    windows, expected = one_window(reference, band)
    differences = compare(windows, expected, lambda inputs: np.tile([found, 0.5, 0.5], (len(inputs), 1)))
    differs = direction(90 + 20 * reference, 100.0, band) != direction(90 + 20 * found, 100.0, band)
    assert (differences.changed_directions + differences.changed_at_edges > 0) == differs


def test_the_largest_difference_is_relative_to_the_larger_predictions() -> None:
    windows, _ = one_window(0.5, 0.001)
    differences = compare(windows, np.array([[0.1, 4.0, -8.0]]), lambda inputs: np.tile([0.3, 5, -8], (len(inputs), 1)))
    assert differences.largest == pytest.approx((0.2, 0.25, 0.0))


def test_a_difference_in_one_window_of_many_is_found() -> None:
    """Also in the last one, which only the batches after the first of every size reach."""
    num_rows = 1000
    inputs = np.zeros((num_rows, 30, 11), np.float32)
    inputs[:, 0, 0] = np.arange(num_rows)
    base, _ = one_window(0.5, 0.001)
    windows = replace(
        base,
        inputs=inputs,
        close=np.full(num_rows, 100.0),
        close_min=np.full(num_rows, 90.0),
        close_max=np.full(num_rows, 110.0),
        bands=np.full(num_rows, 0.001),
    )
    expected = np.full((num_rows, 3), 0.5)
    for wrong in (0, 500, 999):
        differences = compare(
            windows, expected, lambda inputs, wrong=wrong: 0.5 + 1e-3 * (inputs[:, 0, :3] == wrong) * [1, 0, 0]
        )
        assert differences.largest == pytest.approx((1e-3, 0, 0))


def test_edge_cases_stay_within_what_scaling_gives() -> None:
    cases = edge_cases(30, 11)
    assert len(cases) == 12
    for name, inputs in cases.items():
        assert inputs.shape == (30, 11), name
        assert inputs.dtype == np.float32
        assert 0 <= inputs.min() <= inputs.max() <= 1, name
    assert len({inputs.tobytes() for inputs in cases.values()}) == 12
    priced = priced_edge_cases(30, 11)
    assert len(priced) == 12
    assert (priced.close <= priced.close_max).all()


def test_windows_of_a_ticker_keep_their_prices(windows: dict[str, WindowSet]) -> None:
    ibm = windows["IBM"]
    rows = np.arange(len(ibm) - 5, len(ibm))
    priced = PricedWindows.of(ibm, rows, np.full(5, 0.001))
    assert np.array_equal(priced.inputs, ibm.gather(rows))
    assert np.array_equal(priced.close, ibm.close[-5:])
    assert len(priced.with_more(priced_edge_cases(30, 11))) == 17
