"""A ticker among the others of its session, after all that was tried before, whoever is judged when."""

import threading
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.promotion import Promotion
from ldtm_lib.settings import BacktestConfig, ForecastConfig, GateConfig, Settings
from tests.integration.registry.registry_fixtures import Registry

FIRST, SECOND = date(2012, 12, 3), date(2012, 12, 10)
COINS = tuple(f"C{n:02d}" for n in range(20))


def caller(seed: int, *, share_right: float, boldness: float = 0.9) -> tuple[FoldReport, FoldReport]:
    """Two folds of a caller of both directions. Where it is right it is nearly right about the price, too; where it is
    wrong it says that share of the move in the other direction, or nothing where that is within the neutral band.
    """
    rng = np.random.default_rng(seed)
    reports: list[FoldReport] = []
    for fold in (1, 2):
        close = np.full(100, 50.0)
        moves = rng.normal(0, 0.02, (100, 3))
        right = rng.random(100) < share_right
        said = np.where(right[:, None], 0.9 * moves, -boldness * moves)
        reports.append(
            FoldReport(
                fold=fold,
                train_cutoff=date(2011, 12, 30),
                num_training_rows=300,
                num_validation_rows=30,
                num_epochs=3,
                validation_loss=0.1,
                sessions=np.datetime64("2012-01-02") + np.arange(100) + 200 * fold,
                close=close,
                volatility=np.full(len(close), 0.01),
                predictions=close[:, None] * (1 + said),
                actuals=close[:, None] * (1 + moves),
            )
        )
    return reports[0], reports[1]


SKILLED, COIN = caller(1, share_right=0.5, boldness=0.1), caller(1, share_right=0.4)
"""The first one's timing has p = 0.005; the second one is no coin but worse, so that it never passes."""


@pytest.fixture
def strict(small_settings: Settings) -> Settings:
    """The strict gate over one skilled caller and twenty coins."""
    return small_settings.replace(tickers=("AAA", *COINS), gate=GateConfig(strict=True))


def multiple_testing(promotion: Promotion) -> MultipleTesting:
    assert promotion.verdict.multiple_testing is not None
    return promotion.verdict.multiple_testing


def test_it_pays_nobody_to_be_judged_first_or_alone(registry: Registry, strict: Settings) -> None:
    registry.candidate("AAA", FIRST, tested=SKILLED)
    alone = registry.gate("AAA", settings=strict)["AAA"]
    for seed, ticker in enumerate(COINS):
        registry.candidate(ticker, FIRST, tested=caller(seed + 1, share_right=0.4))
    together = registry.gate("AAA", *COINS, settings=strict)["AAA"]
    assert (multiple_testing(alone).num_tickers, multiple_testing(alone).num_judged) == (21, 1)
    assert (multiple_testing(together).num_tickers, multiple_testing(together).num_judged) == (21, 21)
    assert multiple_testing(alone).q_value >= multiple_testing(together).q_value
    by_itself = strict.replace(retired=dict.fromkeys(COINS, FIRST))
    assert multiple_testing(registry.gate("AAA", settings=by_itself)["AAA"]).num_tickers == 21, (
        "the others are on record"
    )
    assert alone.outcome == together.outcome == "stays candidate"
    assert [rule.rule for rule in together.verdict.failures] == ["false_discovery"]


def test_a_family_of_its_own_would_have_let_it_through(registry: Registry, strict: Settings) -> None:
    """What the test above refuses passes where there is nobody else: it is the family that stops it."""
    registry.candidate("AAA", FIRST, tested=SKILLED)
    assert registry.gate("AAA", settings=strict.replace(tickers=("AAA",)))["AAA"].outcome == "promoted"


def test_the_session_that_a_candidate_was_judged_on_stays_its_family(registry: Registry, strict: Settings) -> None:
    for ticker, reports in {"AAA": SKILLED, **dict.fromkeys(COINS, COIN)}.items():
        registry.candidate(ticker, FIRST, tested=reports)
    before = registry.gate("AAA", *COINS, settings=strict)["AAA"]
    for number, ticker in enumerate(COINS):
        registry.candidate(ticker, SECOND, weights=number + 1, tested=COIN)
    after = registry.gate("AAA", *COINS, settings=strict)["AAA"]
    assert after.verdict == before.verdict
    assert (after.outcome, after.is_news) == ("stays candidate", False)


@pytest.mark.parametrize("order", [("AAA", "BBB", "CCC"), ("CCC", "AAA", "BBB")])
def test_one_by_one_comes_to_the_same_as_together_once_all_are_judged(
    registry: Registry, strict: Settings, order: tuple[str, ...]
) -> None:
    settings = strict.replace(tickers=order)
    for seed, ticker in enumerate(sorted(order)):
        registry.candidate(ticker, FIRST, tested=caller(seed, share_right=0.4))
    for ticker in order:
        registry.gate(ticker, settings=settings)
    one_by_one = {ticker: registry.gate(ticker, settings=settings)[ticker] for ticker in order}
    together = registry.gate(*order, settings=settings)
    assert {t: p.verdict for t, p in together.items()} == {t: p.verdict for t, p in one_by_one.items()}
    num_kept = registry.rows("select count(*) from gate_verdict")
    for _ in range(2):
        for ticker in order:
            assert registry.gate(ticker, settings=settings)[ticker].is_news is False
        registry.gate(*order, settings=settings)
    assert registry.rows("select count(*) from gate_verdict") == num_kept, "nothing new, nothing kept"


def test_a_judgement_waits_for_the_one_before_it(registry: Registry, strict: Settings) -> None:
    settings = strict.replace(tickers=("AAA", "BBB"))
    registry.candidate("AAA", FIRST, tested=COIN)
    registry.candidate("BBB", FIRST, tested=COIN)
    found: list[Promotion] = []
    with registry.database.connect() as first, registry.database.connect() as second:
        run_gate(first, registry.folder, ["AAA"], settings, degraded=(), run_id="test")
        thread = threading.Thread(
            target=lambda: found.extend(
                run_gate(second, registry.folder, ["BBB"], settings, degraded=(), run_id="test").promotions
            )
        )
        thread.start()
        thread.join(0.5)
        assert not found, "it waits"
        first.commit()
        thread.join(20)
        second.commit()
    assert multiple_testing(found[0]).num_judged == 2


def test_a_figure_that_moves_because_of_others_is_kept_and_is_no_news(registry: Registry, strict: Settings) -> None:
    settings = strict.replace(tickers=("AAA", "BBB", "CCC"))
    registry.candidate("AAA", FIRST, tested=COIN)
    assert registry.gate("AAA", settings=settings)["AAA"].is_news is True
    for seed, ticker in enumerate(("BBB", "CCC")):
        registry.candidate(ticker, FIRST, tested=caller(seed + 7, share_right=0.4))
        registry.gate(ticker, settings=settings)
        assert registry.gate("AAA", settings=settings)["AAA"].is_news is False
    assert registry.rows("select count(*) from gate_verdict where ticker = 'AAA'") == [(3,)]


def test_another_reason_why_a_rule_could_not_be_applied_is_news(registry: Registry) -> None:
    registry.candidate("AAA", FIRST)
    assert registry.gate("AAA")["AAA"].is_news is True
    assert registry.gate("AAA")["AAA"].is_news is False
    registry.rows(
        "insert into training_failure select ticker, 'backtest', trained_on, architecture_sha256, recipe_sha256,"
        " data_sha256, 'its loss diverged' from checkpoint returning 1"
    )
    again = registry.gate("AAA")["AAA"]
    assert again.is_news is True
    assert again.message == "AAA stays candidate: AAA has no backtest: its loss diverged"


def test_every_training_counts_and_every_setting_that_was_tried(registry: Registry) -> None:
    def trials(settings: Settings | None = None) -> tuple[int, int]:
        shown = multiple_testing(registry.gate("AAA", settings=settings)["AAA"])
        return shown.num_trainings, shown.num_settings

    registry.candidate("AAA", FIRST, tested=COIN)
    assert trials() == (1, 1)
    registry.candidate("AAA", SECOND, weights=1, tested=COIN)
    assert trials() == (2, 1), "the same settings on newer bars"
    registry.candidate("BBB", SECOND, weights=2, tested=COIN)
    assert trials() == (2, 1), "another ticker's"
    other_plan = registry.settings.replace(backtest=BacktestConfig(num_folds=3))
    changed = replace(registry, settings=other_plan)
    changed.candidate("AAA", SECOND, weights=1, tested=COIN)
    assert trials(other_plan) == (2, 2)
    wide = registry.settings.replace(forecast=ForecastConfig(neutral_band=0.002))
    assert trials(wide) == (2, 3), "another band picks other days"
    assert trials(wide) == (2, 3), "and counts once"
    registry.candidate("AAA", date(2012, 12, 17), weights=3, tested=COIN)
    assert trials(registry.settings.replace(forecast=ForecastConfig(neutral_band=0.003))) == (3, 4)


def test_the_settings_tried_on_others_multiply_their_tests(registry: Registry) -> None:
    out_of_reach = GateConfig(min_direction_accuracy=0.99)  # whoever is promoted is judged no more
    settings = registry.settings.replace(tickers=("AAA", "BBB"), gate=out_of_reach)
    registry.candidate("AAA", FIRST, tested=SKILLED)
    first = registry.gate("AAA", settings=settings)["AAA"]
    registry.gate("AAA", settings=settings.replace(forecast=ForecastConfig(neutral_band=0.002)))
    again = registry.gate("AAA", settings=settings)["AAA"]
    assert (multiple_testing(first).num_settings, multiple_testing(again).num_settings) == (1, 2)
    assert multiple_testing(again).q_value == pytest.approx(2 * multiple_testing(first).q_value, rel=1e-9)
    registry.candidate("BBB", FIRST, tested=SKILLED)
    bbb = registry.gate("BBB", settings=settings)["BBB"]
    assert bbb.verdict.evidence is not None
    p_value = bbb.verdict.evidence.timing_p
    assert multiple_testing(bbb).q_value == pytest.approx(1.5 * 2 * p_value, rel=1e-9), (
        "by BY, (1 + 1/2) of the lesser one of 2 p / 1, its own, and 2 (2 p) / 2, its neighbour's with two settings"
    )
