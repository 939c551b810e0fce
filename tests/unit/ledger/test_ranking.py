"""Rank intervals against a plain reference, and by simulation: they seldom tell apart what is equal."""

import math
import time
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.ledger import ranking
from ldtm_lib.ledger.ranking import rank_intervals, told_apart

NUM_UNIVERSES = 400
MOST_WRONG = 0.05 + 3 * math.sqrt(0.05 * 0.95 / NUM_UNIVERSES)
"""5% is what is promised; three standard errors of a share of 400 universes are 3.3%."""
COMMON_PART = 0.3
"""Of the variance of what decides whether a ticker is right: the market moves many of them together."""

Universe = tuple[np.ndarray, np.ndarray]


def universe(rng: np.random.Generator, accuracies: list[float], num_days: int, *, neutral: float = 0.0) -> Universe:
    """Who was right and who gave a direction, (days, tickers); tickers of a day are correlated."""
    market, own = rng.normal(size=(num_days, 1)), rng.normal(size=(num_days, len(accuracies)))
    thresholds = [NormalDist().inv_cdf(accuracy) for accuracy in accuracies]
    correct = math.sqrt(COMMON_PART) * market + math.sqrt(1 - COMMON_PART) * own < thresholds
    return correct, rng.random(correct.shape) >= neutral


@pytest.fixture
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough draws for the share of universes that is wrong, and many times as fast."""
    monkeypatch.setattr(ranking, "NUM_DRAWS", 499)


@pytest.mark.parametrize("seed", range(6))
def test_who_is_told_apart_is_what_the_plain_reference_says(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(ranking, "NUM_DRAWS", 99)
    rng = np.random.default_rng(seed)
    accuracies = [0.95, 0.5, 0.5, 0.1 + 0.1 * seed]
    correct, is_given = universe(rng, accuracies, 14 + 6 * seed, neutral=0.1 * (seed % 3))
    assert told_apart(correct, is_given).tolist() == reference(correct, is_given)


def reference(correct: np.ndarray, is_given: np.ndarray) -> list[list[bool]]:
    """Pair by pair, day by day, draw by draw, in plain Python."""
    days, tickers = range(len(correct)), range(correct.shape[1])
    right = [bool(correct[d, t]) for d in days for t in tickers if is_given[d, t]]
    level = sum(right) / len(right)
    number = [sum(bool(is_given[d, t]) for d in days) for t in tickers]

    def share(d: int, t: int) -> float:
        return (float(correct[d, t]) - level) / number[t] if is_given[d, t] else 0.0

    def studentised(j: int, k: int, signs: list[float]) -> float:
        if sum(bool(is_given[d, j] and is_given[d, k]) for d in days) < 10:
            return 0.0
        differences = [share(d, j) - share(d, k) for d in days]
        error = math.sqrt(math.fsum(x * x for x in differences))
        return math.fsum(s * x for s, x in zip(signs, differences, strict=True)) / error if error > 1e-12 else 0.0

    drawn = np.random.default_rng(0).integers(0, 2, (99, len(correct))) * 2.0 - 1.0
    largest = sorted(max(abs(studentised(j, k, list(signs))) for j in tickers for k in tickers) for signs in drawn)
    critical = largest[95 - 1]  # 95% of 99 draws and the data themselves
    came = [1.0] * len(correct)
    return [[studentised(j, k, came) > critical * (1 + 1e-9) for k in tickers] for j in tickers]


@pytest.mark.usefixtures("fewer_draws")
@pytest.mark.parametrize(
    ("num_tickers", "accuracy", "neutral"), [(5, 0.5, 0.0), (20, 0.5, 0.2), (20, 0.6, 0.0), (103, 0.5, 0.0)]
)
def test_equal_tickers_are_told_apart_in_about_5_percent_of_universes_at_most(
    num_tickers: int, accuracy: float, neutral: float
) -> None:
    rng = np.random.default_rng(7)
    universes = [universe(rng, [accuracy] * num_tickers, 30, neutral=neutral) for _ in range(NUM_UNIVERSES)]
    assert np.mean([told_apart(*each).any() for each in universes]) <= MOST_WRONG


@pytest.mark.usefixtures("fewer_draws")
def test_the_intervals_hold_every_true_rank_at_once() -> None:
    rng = np.random.default_rng(8)
    accuracies = [0.9, 0.75, 0.6, 0.5, 0.45, 0.3]
    truth = np.arange(1, len(accuracies) + 1)
    wrong = 0
    for _ in range(NUM_UNIVERSES):
        ranks = rank_intervals(*universe(rng, accuracies, 60))
        wrong += bool(((truth < ranks.low_T) | (truth > ranks.high_T)).any())
    assert wrong / NUM_UNIVERSES <= MOST_WRONG


def test_one_that_is_nearly_always_right_is_first_once_there_are_enough_days() -> None:
    rng = np.random.default_rng(9)
    ranks = rank_intervals(*universe(rng, [0.5] * 50 + [0.95] + [0.5] * 52, 120))
    assert (ranks.low_T[50], ranks.high_T[50]) == (1, 1)
    assert ranks.low_T.max() == 2, "the others are not told from each other"
    assert ranks.high_T[np.arange(103) != 50].min() == 103


def test_of_103_that_guess_over_30_days_nobody_is_told_apart_though_the_luckiest_looks_good() -> None:
    correct, is_given = universe(np.random.default_rng(1), [0.5] * 103, 30)
    assert correct.mean(axis=0).max() >= 0.66
    ranks = rank_intervals(correct, is_given)
    assert set(ranks.low_T) == {1}
    assert set(ranks.high_T) == {103}


def test_what_tickers_have_in_common_cancels_from_their_difference() -> None:
    """Two that differ on ten days alone are told apart; with the same accuracies on other days they are not."""
    market = np.arange(60) % 2 == 0
    better = market | (np.arange(60) < 20)
    together = np.stack([better, market], axis=1)
    apart = np.stack([better, market[::-1] ^ (np.arange(60) % 4 < 2)], axis=1)
    everywhere = np.ones_like(together)
    assert together.mean(axis=0).tolist() == apart.mean(axis=0).tolist()
    assert told_apart(together, everywhere).tolist() == [[False, True], [False, False]]
    assert not told_apart(apart, everywhere).any()


def test_one_ticker_is_first_and_a_neutral_one_has_no_rank() -> None:
    correct = np.zeros((12, 2), np.bool_)
    correct[:, 0] = True
    is_given = np.ones_like(correct)
    is_given[:, 1] = False
    ranks = rank_intervals(correct, is_given)
    assert ranks.low_T.tolist() == [1, 0]
    assert ranks.high_T.tolist() == [1, 0]
    nothing = rank_intervals(np.zeros((0, 3), np.bool_), np.zeros((0, 3), np.bool_))
    assert (nothing.low_T.tolist(), nothing.high_T.tolist()) == ([0] * 3, [0] * 3)
    nobody = rank_intervals(np.zeros((5, 0), np.bool_), np.zeros((5, 0), np.bool_))
    assert len(nobody.low_T) == 0


def test_two_that_shared_fewer_than_ten_days_are_not_told_apart() -> None:
    """Right on every one of 30 days and wrong on every one of 30, of which they share 9 or 10."""
    for num_common, are_told in ((9, False), (10, True)):
        is_given = np.zeros((60 - num_common, 2), np.bool_)
        is_given[:30, 0] = True
        is_given[30 - num_common :, 1] = True
        correct = np.repeat([[True, False]], len(is_given), axis=0)
        assert told_apart(correct, is_given)[0, 1] == are_told


def test_two_that_were_right_and_wrong_on_the_same_days_are_not_told_apart() -> None:
    column = np.random.default_rng(2).random((31, 1)) < 0.7
    same = np.repeat(column, 3, axis=1)
    assert not told_apart(same, np.ones_like(same)).any()


@given(
    seed=st.integers(0, 2**32 - 1),
    num_days=st.integers(1, 40),
    num_tickers=st.integers(1, 7),
    neutral=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_intervals_are_intervals_of_ranks_and_hold_the_rank_that_came(
    seed: int, num_days: int, num_tickers: int, neutral: float
) -> None:
    rng = np.random.default_rng(seed)
    correct, is_given = universe(rng, list(rng.uniform(0.05, 0.95, num_tickers)), num_days, neutral=neutral)
    ranks, again = rank_intervals(correct, is_given), rank_intervals(correct, is_given)
    assert (ranks.low_T == again.low_T).all()
    assert (ranks.high_T == again.high_T).all()
    ranked = np.flatnonzero(is_given.any(axis=0))
    assert set(np.flatnonzero(ranks.low_T)) == set(ranked) == set(np.flatnonzero(ranks.high_T))
    accuracies = {t: correct[is_given[:, t], t].mean() for t in ranked}
    for ticker in ranked:
        num_better = sum(other > accuracies[ticker] for other in accuracies.values())
        num_as_good = sum(other >= accuracies[ticker] for other in accuracies.values())
        assert 1 <= ranks.low_T[ticker] <= 1 + num_better
        assert num_as_good <= ranks.high_T[ticker] <= len(ranked)


def test_103_tickers_over_30_days_take_well_under_a_second() -> None:
    correct, is_given = universe(np.random.default_rng(1), [0.5] * 103, 30)
    started = time.perf_counter()
    rank_intervals(correct, is_given)
    assert time.perf_counter() - started < 1.0  # 0.02 s on an idle core


@given(
    seed=st.integers(0, 1000),
    num_tickers=st.integers(2, 90),
    num_days=st.integers(3, 60),
    neutral=st.sampled_from([0.0, 0.3, 0.8]),
    exceptions=st.sampled_from([0, 2, 60]),
    num_twins=st.integers(0, 5),
)
def test_the_critical_value_of_many_tickers_is_the_plain_one_to_the_bit(
    seed: int, num_tickers: int, num_days: int, neutral: float, exceptions: int, num_twins: int
) -> None:
    rng = np.random.default_rng(seed)
    correct, is_given = universe(rng, list(rng.uniform(0.2, 0.9, num_tickers)), num_days, neutral=neutral)
    for _ in range(num_twins):  # that differ on a day or never, which makes a pair very precise
        correct, is_given = np.hstack([correct, correct[:, :1]]), np.hstack([is_given, is_given[:, :1]])
        correct[rng.integers(num_days), -1] ^= bool(rng.integers(2))
    is_ranked = is_given.any(axis=0)
    if is_ranked.sum() < 2:
        return
    share = ranking._shares_of_days(correct[:, is_ranked], is_given[:, is_ranked])
    precision = ranking._precisions(share, is_given[:, is_ranked])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "NUM_DRAWS", 99)
        patch.setattr(ranking, "EXCEPTIONS", exceptions)
        patch.setattr(ranking, "SAMPLED_ROWS", 7)
        assert ranking.critical_value_of_many(share, precision) == ranking.critical_value(share, precision)


def test_many_tickers_are_told_apart_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    correct, is_given = universe(np.random.default_rng(3), [0.5] * 200 + [0.95] * 200, 90, neutral=0.1)
    few = told_apart(correct, is_given)
    assert few.any()
    monkeypatch.setattr(ranking, "FEW_TICKERS", 10)
    monkeypatch.setattr(ranking, "BLOCK_ROWS", 37)
    assert np.array_equal(told_apart(correct, is_given), few)
