"""Loss curves become small pictures, whatever the losses and the tickers are called."""

import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ldtm_lib.plots.colours import BLUE, ORANGE, PALE_BLUE, RED, SERIES
from ldtm_lib.plots.loss_curves import LossCurve, fold_losses, network_losses, universe_losses

MAX_BYTES = 15_000
"""103 tickers have two pictures each in the record of every retraining."""


def falling(num_epochs: int, *, to: float = 0.2, seed: int = 0) -> LossCurve:
    epochs = np.arange(num_epochs)
    validation = to + 0.8 * np.exp(-epochs / 6) + np.random.default_rng(seed).normal(0, 0.01, num_epochs)
    best = int(validation.argmin()) + 1
    return LossCurve(training=(validation * 0.9).tolist(), validation=validation.tolist(), best_epoch=best)


def pixels(png: bytes) -> np.ndarray:
    """(height, width, 3) of a picture."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def has(png: bytes, colour: str) -> bool:
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return bool((pixels(png) == wanted).all(axis=2).any())


def columns_of(png: bytes, colour: str) -> np.ndarray:
    """The columns of a picture's plot area in which a colour is."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return np.flatnonzero((pixels(png)[60:250] == wanted).all(axis=2).any(axis=0))


def test_pictures_are_small_and_white_behind_the_lines() -> None:
    pictures = {
        "network": network_losses("AAPL", falling(100), folds=[falling(60, seed=n) for n in range(4)]),
        "folds": fold_losses("AAPL", {n: falling(100, seed=n) for n in range(1, 5)}),
        "universe": universe_losses("all", {f"T{n}": falling(20 + n % 60, seed=n).validation for n in range(103)}),
    }
    for name, png in pictures.items():
        assert len(png) <= MAX_BYTES, name
        image = pixels(png)
        assert image.shape == (300, 540, 3)
        assert (image[0] == 255).all(), name
        assert (image == 255).all(axis=2).mean() > 0.7, name


def test_the_kept_epoch_is_marked_where_it_is() -> None:
    early = LossCurve(training=[1.0] * 20, validation=[0.5, 0.4, *[0.6] * 18], best_epoch=2)
    late = LossCurve(training=[1.0] * 20, validation=[*[0.6] * 18, 0.4, 0.5], best_epoch=19)
    first, second = (columns_of(network_losses("A", curve), ORANGE).mean() for curve in (early, late))
    assert first < 120
    assert second > 430


def test_the_folds_the_training_and_the_no_change_forecast_are_seen_beside_the_network() -> None:
    alone = network_losses("AAPL", falling(30))
    beside = network_losses("AAPL", falling(30), folds=[falling(20, to=0.5)])
    assert has(alone, BLUE)
    # The edges of blue lines are pale as well, in a few pixels.
    assert len(columns_of(beside, PALE_BLUE)) > len(columns_of(alone, PALE_BLUE)) + 100
    # A level far above all losses moves the axis, so the same curve is drawn lower down.
    assert network_losses("AAPL", falling(30), no_change_loss=3.0) != alone


def test_a_network_of_one_epoch_is_seen_as_a_dot() -> None:
    once = LossCurve(training=[0.7], validation=[0.5], best_epoch=None)
    assert len(columns_of(network_losses("FB", once), BLUE)) > 2
    assert has(fold_losses("FB", {1: once}), SERIES[0])
    assert len(columns_of(universe_losses("all", {f"T{n}": [0.5] for n in range(9)}), BLUE)) > 2


@pytest.mark.parametrize("losses", [[], [np.nan], [np.nan, np.inf, -np.inf]])
def test_losses_that_are_not_finite_leave_a_chart_that_says_so(losses: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        broken = LossCurve(training=losses, validation=losses, best_epoch=1)
        png = network_losses("TQQQ", broken, folds=[broken], no_change_loss=np.inf)
        sound = network_losses("TQQQ", falling(9))
        assert universe_losses("all", {"TQQQ": losses}, failed=["TQQQ"])
    assert not has(png, ORANGE), "no epoch was kept"
    assert (pixels(png)[140:170] != 255).any(), "words in the middle"
    assert png != sound


def test_one_ticker_without_a_finite_loss_does_not_hide_the_others() -> None:
    others = {f"T{n}": falling(20, seed=n).validation for n in range(8)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert universe_losses("all", {**others, "BAD": [np.nan] * 5}) == universe_losses("all", others)


def test_a_stopped_network_counts_with_its_lowest_loss() -> None:
    long = {f"L{n}": [1.0] * 40 for n in range(4)}
    stopped = {f"S{n}": [1.0, 0.1, 0.9] for n in range(6)}
    png = universe_losses("all", {**long, **stopped})
    rows = np.flatnonzero((pixels(png)[:, 500] == [0x17, 0x50, 0x8F]).all(axis=1))
    # Six of ten kept 0.1: the median ends at the bottom of the chart, though those that go on are at the top.
    assert rows.min() > 200


def test_failed_tickers_are_named_below() -> None:
    curves = {f"T{n}": falling(20, seed=n).validation for n in range(9)}
    assert not has(universe_losses("all", curves), RED)
    png = universe_losses("all", curves, failed=[f"BAD{n}" for n in range(103)])
    assert has(png, RED)
    red = np.flatnonzero((pixels(png) == [0xB3, 0x26, 0x1E]).all(axis=2).any(axis=0))
    assert red.max() < 470, "103 names leave room for the axis"


@given(name=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=8))
@settings(max_examples=25)
def test_a_ticker_may_be_called_anything(name: str) -> None:
    curve = falling(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert network_losses(f"{name}: validation loss", curve) != network_losses("", curve)
        named = universe_losses("all", {name: curve.validation}, failed=[name])
    assert not np.array_equal(pixels(named)[25:55], 255), "the ticker is the line's label"


@pytest.mark.parametrize("name", ["BRK.B", "^GSPC", "A$B$C", r"$\frac$", "_X", "%s", "{0}"])
def test_a_ticker_is_drawn_as_it_is_written(name: str) -> None:
    """A formula, which dollar signs would begin, is drawn otherwise or not at all."""
    title = pixels(network_losses(name, falling(5)))[:25]
    assert not np.array_equal(title, pixels(network_losses("", falling(5)))[:25])
    ink = int((title < 128).any(axis=2).sum())
    letters = [pixels(network_losses(letter, falling(5)))[:25] for letter in name]
    # Letter by letter there is as much ink but for the edges between them: within a quarter.
    assert ink == pytest.approx(sum(int((letter < 128).any(axis=2).sum()) for letter in letters), rel=0.25)
    assert universe_losses("all", {name: falling(5).validation}, failed=[name])


def test_a_wide_range_of_losses_is_drawn_on_a_logarithmic_axis() -> None:
    """A loss that falls a hundredfold in equal steps of its logarithm is a straight line from corner to corner."""
    decades = LossCurve(training=[], validation=(100 * 0.01 ** (np.arange(21) / 20)).tolist())
    image = (pixels(network_losses("A", decades)) == [0x17, 0x50, 0x8F]).all(axis=2)[60:250]
    columns = np.flatnonzero(image.any(axis=0))
    middle = columns[len(columns) // 2]
    rows = np.flatnonzero(image.any(axis=1))
    # A linear axis would have it at 99% of the way down by the middle; 3 pixels are the width of the line.
    assert np.flatnonzero(image[:, middle]).mean() == pytest.approx((rows.min() + rows.max()) / 2, abs=3)


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert network_losses("AAPL", falling(30)) == network_losses("AAPL", falling(30))


def test_matplotlib_is_imported_when_something_is_drawn_and_pyplot_never() -> None:
    script = (
        "import sys; from ldtm_lib.plots import loss_curves as l; assert 'matplotlib' not in sys.modules; "
        "l.network_losses('A', l.LossCurve(training=[1.0], validation=[1.0])); "
        "assert 'matplotlib' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
