import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.models.schedule import EarlyStopping, learning_rate, seed_of
from ldtm_lib.settings import TrainingConfig


def test_a_seed_never_changes_between_releases() -> None:
    """The digits of `printf 'AAPL|final|0' | sha256sum`, first 16, shifted right by one bit."""
    assert seed_of("AAPL", None, 0) == 4614945752584801242


def test_ticker_fold_and_seed_all_matter() -> None:
    names = [(ticker, fold, seed) for ticker in ("AAPL", "IBM") for fold in (None, 0, 1) for seed in (0, 1)]
    assert len({seed_of(*name) for name in names}) == len(names)


def test_the_rate_falls_along_half_a_cosine() -> None:
    recipe = TrainingConfig(max_epochs=10, learning_rate=0.004)
    assert learning_rate(recipe, 0, 8) == 0.004
    assert learning_rate(recipe, 40, 8) == pytest.approx(0.002)
    assert learning_rate(recipe, 20, 8) == pytest.approx(0.002 * (1 + math.sqrt(0.5)))
    assert learning_rate(recipe, 80, 8) == pytest.approx(0, abs=1e-18)


@given(max_epochs=st.integers(1, 200), steps_per_epoch=st.integers(1, 100), at=st.floats(0, 1, exclude_max=True))
def test_the_rate_is_positive_and_falls_with_every_step(max_epochs: int, steps_per_epoch: int, at: float) -> None:
    recipe = TrainingConfig(max_epochs=max_epochs)
    step = int(at * max_epochs * steps_per_epoch)
    assert 0 < learning_rate(recipe, step, steps_per_epoch) <= recipe.learning_rate
    assert learning_rate(recipe, step + 1, steps_per_epoch) < learning_rate(recipe, step, steps_per_epoch)


def test_patience_runs_out_after_that_many_epochs_without_anything_better() -> None:
    stopping = EarlyStopping(patience=2)
    taken = [(stopping.improves(loss), stopping.exhausted) for loss in (0.5, 0.6, 0.4, 0.4, 0.41)]
    assert taken == [(True, False), (False, False), (True, False), (False, False), (False, True)]
    assert (stopping.best_epoch, stopping.best_loss, stopping.epoch) == (3, 0.4, 5)


@given(losses=st.lists(st.floats(0, 1), min_size=1, max_size=30), patience=st.integers(1, 5))
def test_the_best_epoch_is_the_first_lowest_before_the_stop(losses: list[float], patience: int) -> None:
    stopping = EarlyStopping(patience=patience)
    seen: list[float] = []
    for loss in losses:
        seen.append(loss)
        stopping.improves(loss)
        if stopping.exhausted:
            break
    assert stopping.best_loss == min(seen)
    assert stopping.best_epoch == seen.index(min(seen)) + 1
    assert stopping.exhausted == (len(seen) - stopping.best_epoch >= patience)
