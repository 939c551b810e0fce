"""Windows with exchanged futures hold nothing to know, and the gate is counted on models that were trained on them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.indicators import WARMUP_BARS
from ldtm_lib.features.inputs import INPUTS
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.fit import Fit, FitFailed, FitTask, Progress
from ldtm_lib.placebo import shuffling
from ldtm_lib.placebo.calibration import require_folds, run_placebo
from ldtm_lib.placebo.canary_bars import coin_flip, planted
from ldtm_lib.placebo.kept import FILE, keep, kept_calibration, placebo_words
from ldtm_lib.placebo.shuffling import far_order, original_of, shuffled
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import ArchitectureConfig, BacktestConfig, Settings, TrainingConfig
from ldtm_lib.training.run import NoCallbacks, TrainingCallbacks, TrainingContext

pytestmark = pytest.mark.slow

SETTINGS = Settings(
    path=Path("universe.toml"),
    tickers=("AAA", "BBB"),
    architecture=ArchitectureConfig(hidden=12, head_hidden=8),
    training=TrainingConfig(max_epochs=12, learning_rate=5e-2, min_training_rows=100),
    backtest=BacktestConfig(num_folds=2, test_sessions=63),
)
FEWEST_BARS = 252 + 21 + 29 + WARMUP_BARS
"""Of the shortest history whose futures can be exchanged: 12 blocks of labelled windows and what lies around them."""


@cache
def coin(num_bars: int, ticker: str = "AAA") -> WindowSet:
    calendar = exchange_calendar()
    return windows_of(coin_flip(ticker, calendar, num_bars, seed=1), calendar, SETTINGS.window)[ticker]


@cache
def announced(num_bars: int, ticker: str = "AAA") -> WindowSet:
    calendar = exchange_calendar()
    return windows_of(planted(ticker, calendar, num_bars, seed=1), calendar, SETTINGS.window)[ticker]


def on_cpu(settings: Settings, callbacks: TrainingCallbacks | None = None) -> TrainingContext:
    return TrainingContext(settings=settings, device="cpu", callbacks=callbacks or NoCallbacks())


def moves(windows: WindowSet) -> npt.NDArray[np.float64]:
    """(n, 3) what became of the closes of the labelled windows."""
    rows = windows.labelled
    return windows.target_prices[rows] / windows.close[rows, None]


def sources(true: WindowSet, copy: WindowSet) -> npt.NDArray[np.int64]:
    """Whose future each labelled window got: the window whose three moves are the same."""
    theirs, ours = moves(true), moves(copy)
    order = np.argsort(theirs[:, 0])
    at = np.searchsorted(theirs[order, 0], ours[:, 0] * (1 - 1e-12))  # no two moves are as near as rounding is
    found = order[at]
    np.testing.assert_allclose(theirs[found], ours, rtol=1e-12)  # one product and one quotient in float64
    return found


@given(
    num_bars=st.integers(FEWEST_BARS, 900),
    seed=st.integers(0, 2**32),
    copy=st.integers(0, 1000),
)
@example(num_bars=FEWEST_BARS, seed=0, copy=0)
@example(num_bars=FEWEST_BARS + 1, seed=0, copy=0)
@example(num_bars=FEWEST_BARS + 20, seed=0, copy=0)
@hypothesis_settings(max_examples=60)
def test_every_future_goes_to_another_window_far_away_and_none_is_lost(num_bars: int, seed: int, copy: int) -> None:
    true = coin(num_bars)
    of_others = shuffled(true, seed=seed, copy=copy)
    rows = np.flatnonzero(true.labelled)
    given_by = sources(true, of_others)
    assert sorted(given_by) == list(range(len(rows)))
    ends, from_ends = true.ends[rows], true.ends[rows[given_by]]
    # Bars that a future spans, from_ends + 1 to + 21, are after all that its new window's future spans, or before all
    # that the window reads: 30 sessions, and 19 before for the averages of the first.
    after = from_ends + 1 > ends + 21
    before = from_ends + 21 < ends - 29 - WARMUP_BARS
    assert np.all(after | before)
    num_blocks = len(rows) // 21
    assert np.count_nonzero(np.diff(given_by) != 1) <= num_blocks + 2, "blocks stay whole, but for the last one's trade"


@given(num=st.integers(12, 60), seed=st.integers(0, 2**32))
def test_an_order_of_blocks_is_a_permutation_that_leaves_none_near_its_place(num: int, seed: int) -> None:
    order = far_order(num, 4, np.random.default_rng(seed))
    assert sorted(order) == list(range(num))
    assert np.abs(order - np.arange(num)).min() >= 4


def test_only_the_targets_of_labelled_windows_change_and_all_else_is_shared() -> None:
    true = coin(500)
    of_others = shuffled(true, seed=0, copy=17)
    assert of_others.ticker == "AAA~17"
    assert original_of(of_others.ticker) == "AAA"
    for name in ("inputs", "bar_sessions", "ends", "sessions", "low", "span", "close", "target_sessions", "labelled"):
        assert getattr(of_others, name) is getattr(true, name)
    unlabelled = ~true.labelled
    assert unlabelled.any()
    np.testing.assert_array_equal(of_others.target_prices[unlabelled], true.target_prices[unlabelled])
    np.testing.assert_array_equal(of_others.targets[unlabelled], true.targets[unlabelled])
    rows = np.flatnonzero(true.labelled)
    # float32 targets, 6e-8 of their size, which is a few window ranges of less than the price itself
    np.testing.assert_allclose(
        of_others.unscale(of_others.targets[rows], rows), of_others.target_prices[rows], rtol=1e-6
    )
    assert of_others.targets.dtype == np.float32


def test_an_exchange_is_of_its_ticker_its_seed_and_its_copy_and_always_the_same() -> None:
    true = coin(500)
    first = shuffled(true, seed=3, copy=5).target_prices
    np.testing.assert_array_equal(first, shuffled(true, seed=3, copy=5).target_prices)
    others = (
        shuffled(true, seed=4, copy=5),
        shuffled(true, seed=3, copy=6),
        shuffled(replace(true, ticker="AAB"), seed=3, copy=5),
    )
    for other in others:
        assert np.nanmax(np.abs(first - other.target_prices)) > 0.1


def test_a_history_too_short_for_an_exchange_is_refused() -> None:
    short = coin(FEWEST_BARS - 1)
    with pytest.raises(TooFewBars) as refused:
        shuffled(short, seed=0, copy=0)
    assert str(refused.value).startswith(
        "AAA has 251 labelled windows, but 252 are needed to exchange futures such that no"
    )


def explained(windows: WindowSet) -> tuple[float, float]:
    """How much of the next day's move a regression finds in a window, and how likely blind luck finds as much (F test).

    Regressors: the last session's eleven scaled inputs, and the log returns of all thirty sessions.
    """
    rows = np.flatnonzero(windows.labelled)
    today = windows.gather(rows)[:, -1]
    past = windows.ends[rows][:, None] - np.arange(windows.window_sessions)
    returns = windows.inputs[past, INPUTS.index("log_return_1")]
    x = np.column_stack([np.ones(len(rows)), today, returns]).astype(np.float64)
    y = np.log(moves(windows)[:, 0])
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    share = 1 - left.var() / y.var()
    num, den = x.shape[1] - 1, len(rows) - x.shape[1]
    return share, float(stats.f.sf(share / num / ((1 - share) / den), num, den))


def test_a_regression_finds_nothing_in_windows_with_exchanged_futures() -> None:
    true = announced(3000)
    share, p = explained(true)
    assert (share > 0.7, p < 1e-100) == (True, True), "the true ones are announced"
    p_values = [explained(shuffled(true, seed=0, copy=copy))[1] for copy in range(20)]
    # Even by Bonferroni: the smallest of 20 honest p-values is below 0.0005 once in 100; seeds are fixed.
    assert min(p_values) > 0.0005
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_the_regression_would_find_a_future_that_moved_into_the_past_of_its_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def next_place(num: int, distance: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        return np.roll(np.arange(num), 1)

    monkeypatch.setattr(shuffling, "far_order", next_place)
    share, _ = explained(shuffled(coin(3000), seed=0, copy=0))
    # All but the first of 139 blocks get the moves that their windows show 20 sessions back.
    assert share > 0.9


def test_models_are_counted_by_ticker_and_by_rule_beside_coins(tmp_path: Path) -> None:
    windows = {"AAA": coin(420), "BBB": coin(420, "BBB")}
    report = run_placebo(windows, on_cpu(SETTINGS), num_copies=3, seed=0)
    assert [(model.ticker, model.copy) for model in report.models] == [(t, n) for n in range(3) for t in ("AAA", "BBB")]
    total = report.total
    assert (total.num_models, report.num_copies, dict(report.untrained)) == (6, 3, {})
    assert [tally.num_models for tally in report.by_ticker.values()] == [3, 3]
    assert total.num_passed == sum(model.passed for model in report.models)
    assert total.num_passed == sum(tally.num_passed for tally in report.by_ticker.values())
    assert total.coins_expected == pytest.approx(sum(m.coin_passes for m in report.models), rel=1e-12)  # float64 sum
    assert 0.1 * 6 < total.coins_expected < 0.6 * 6, "a coin meets 52% in about a third of 126 days"
    assert total.num_always_up == sum((model.base_rate or 0) >= 0.52 for model in report.models)
    for rule in ("direction_accuracy", "leakage_rows", "timing", "false_discovery"):
        assert report.failed_by_rule[rule] == sum(rule in model.failed for model in report.models)
    assert report.failed_by_rule["leakage_rows"] == 0
    assert all(model.passed_strict == (not model.failed) for model in report.models)
    assert total.passed_interval is not None
    assert total.passed_interval.low <= total.num_passed / 6 <= total.passed_interval.high
    assert len({(model.accuracy, model.base_rate) for model in report.models}) == 6, "no two copies are the same"
    keep(tmp_path, report.kept(datetime(2026, 11, 30, tzinfo=UTC)))
    kept = kept_calibration(tmp_path)
    assert kept is not None
    assert kept.total.num_passed == total.num_passed
    assert kept.by_ticker["BBB"].num_models == 3
    said = placebo_words(kept, "AAA")
    assert said.startswith(f"Placebo calibration of 2026-11-30: of {kept.total.num_models} models")
    assert f"for AAA alone, of {kept.by_ticker['AAA'].num_models} models that cannot know anything, " in said
    assert f"anything, {kept.by_ticker['AAA'].num_passed} passed the plain gate" in said
    assert "CCC was not included" in placebo_words(kept, "CCC")


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"calibrated_at": "yesterday"}'])
def test_a_calibration_that_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert kept_calibration(tmp_path) is None
    assert "has not been measured here" in placebo_words(None, "AAA")


def test_a_placebo_does_not_depend_on_who_is_trained_beside_it() -> None:
    both = run_placebo({"AAA": coin(420), "BBB": coin(420, "BBB")}, on_cpu(SETTINGS), num_copies=2, seed=0)
    alone = run_placebo({"AAA": coin(420)}, on_cpu(SETTINGS), num_copies=1, seed=0)
    (model,) = alone.models
    beside = both.models[0]
    assert (model.accuracy, model.timing_p, model.base_rate) == (beside.accuracy, beside.timing_p, beside.base_rate)
    other = run_placebo({"AAA": coin(420)}, on_cpu(SETTINGS), num_copies=1, seed=1)
    assert (other.models[0].accuracy, other.models[0].base_rate) != (model.accuracy, model.base_rate)


@pytest.mark.nightly
def test_an_exchange_that_leaves_futures_where_they_are_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = {ticker: announced(700, ticker) for ticker in ("AAA", "BBB")}
    patient = SETTINGS.replace(training=SETTINGS.training.replace(learning_rate=2e-2, max_epochs=20))
    honest = run_placebo(windows, on_cpu(patient), num_copies=3, seed=0).total
    monkeypatch.setattr(shuffling, "far_order", lambda num, distance, generator: np.arange(num))
    leaking = run_placebo(windows, on_cpu(patient), num_copies=3, seed=0).total
    assert (leaking.num_passed, leaking.num_models) == (6, 6)
    assert leaking.mean_accuracy is not None
    assert leaking.mean_accuracy > 0.65, "12 units learn in 500 rows what 98 of 100 moves are announced by"
    assert honest.mean_accuracy is not None
    assert honest.mean_accuracy < 0.58, "6 x 126 calls are within 4.4 standard errors of a half"
    assert (honest.num_passed <= 4, honest.num_passed_strict) == (True, 0)
    assert leaking.passed_interval is not None
    assert leaking.passed_interval.low > honest.num_passed / 6


class Heard:
    """Callbacks that keep every call."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.epochs = 0
        self.results: list[Fit | FitFailed] = []

    def on_start(self, tasks: Sequence[FitTask]) -> None:
        self.tasks += [task.name for task in tasks]

    def on_epoch(self, progress: Progress) -> None:
        self.epochs += 1

    def on_result(self, result: Fit | FitFailed) -> None:
        self.results.append(result)


def test_a_placebo_that_cannot_be_trained_is_named_and_in_no_count() -> None:
    heard = Heard()
    hopeless = SETTINGS.replace(training=SETTINGS.training.replace(learning_rate=1e30))
    report = run_placebo({"AAA": coin(420)}, on_cpu(hopeless, heard), num_copies=2, seed=0)
    assert sorted(report.untrained) == ["AAA~0", "AAA~1"]
    assert "lower [training] learning_rate, now 1e+30" in report.untrained["AAA~0"]
    assert (report.total.num_models, report.total.passed_interval, report.total.mean_accuracy) == (0, None, None)
    assert heard.tasks == ["AAA~0 fold 1", "AAA~0 fold 2", "AAA~1 fold 1", "AAA~1 fold 2"]
    assert len(heard.results) == 4


def test_callbacks_are_called_for_every_network() -> None:
    heard = Heard()
    brief = SETTINGS.replace(training=SETTINGS.training.replace(max_epochs=2))
    run_placebo({"AAA": coin(420)}, on_cpu(brief, heard), num_copies=1, seed=0)
    assert (heard.tasks, heard.epochs, len(heard.results)) == (["AAA~0 fold 1", "AAA~0 fold 2"], 4, 2)


def test_a_history_without_room_for_a_fold_is_refused() -> None:
    with pytest.raises(TooFewBars) as refused:
        run_placebo({"AAA": coin(200)}, on_cpu(SETTINGS), num_copies=1, seed=0)
    assert str(refused.value) == (
        "AAA has 200 bars, which make 131 labelled windows, too few for a fold of 63 test sessions after 100 training "
        "rows; use more bars, or leave the ticker out"
    )
    assert len(require_folds(coin(420), SETTINGS)) == 2
