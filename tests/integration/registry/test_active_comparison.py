"""What the gate promotes on PostgreSQL: no silence, no short folds, no drift, nothing worse than the active model."""

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.registry.active_models import active_models
from ldtm_lib.registry.judgement import judge_newest
from ldtm_lib.registry.lifecycle import rollback
from ldtm_lib.registry.listing import judged_networks, list_registry
from ldtm_lib.settings import BacktestConfig, ForecastConfig
from tests.integration.registry.registry_fixtures import GOOD, SMALL, Registry, bolder

MONDAY, TUESDAY, WEDNESDAY = date(2012, 12, 3), date(2012, 12, 4), date(2012, 12, 5)
V_MONDAY = f"v1.{MONDAY}"


def with_calls(returns: Sequence[float], moves: Sequence[float], *, number: int = 1) -> FoldReport:
    """A fold with some predicted and actual next-day returns."""
    close = np.full(len(returns), 100.0)
    prices = [np.stack([close * (1 + np.array(some))] * 3, axis=1) for some in (returns, moves)]
    return dataclasses.replace(
        GOOD[0],
        fold=number,
        sessions=np.datetime64("2012-01-02") + np.arange(len(close)) + 400 * number,
        close=close,
        volatility=np.full(len(close), 0.01),
        predictions=prices[0],
        actuals=prices[1],
    )


SILENT = [with_calls([0.01, *[0.0] * 125], [0.02] * 126), with_calls([0.0] * 126, [0.02] * 126, number=2)]
TWO_OF_THREE = [with_calls([0.01, -0.01], [0.02, 0.02]), with_calls([-0.01], [-0.02], number=2)]
ONE_SESSION_EACH = [with_calls([0.01], [0.02]), with_calls([-0.01], [-0.02], number=2)]
ALWAYS_UP = [with_calls([0.01] * 150, [0.02] * 79 + [-0.02] * 71, number=number) for number in (1, 2)]


@pytest.mark.parametrize(
    ("tested", "reasons"),
    [
        (SILENT, ["1 next-day forecast names a direction, at least 100 are needed", "0.40% of 252 next-day forecasts"]),
        (TWO_OF_THREE, ["3 next-day forecasts name a direction", "the shortest fold has 1 test sessions"]),
        (ONE_SESSION_EACH, ["2 next-day forecasts name a direction", "the shortest fold has 1 test sessions"]),
        (ALWAYS_UP, ["which must exceed the 52.67% of always saying up on the same days"]),
    ],
    ids=["one call of 252", "two of three", "folds of one session", "always up"],
)
def test_what_passed_the_four_rules_alone_is_not_promoted(
    registry: Registry, tested: list[FoldReport], reasons: list[str]
) -> None:
    registry.candidate("AAA", MONDAY, tested=tested)
    result = registry.gate("AAA")["AAA"]
    assert all(rule.passed for rule in result.verdict.rules[:4])
    assert result.outcome == "stays candidate"
    assert all(reason in result.message for reason in reasons)
    assert registry.statuses("AAA") == [("candidate", None)]
    ((num_rules, passed),) = registry.rows("select jsonb_array_length(rules), passed from gate_verdict")
    assert (num_rules, passed) == (8, False)


def worse_than_good() -> list[FoldReport]:
    """Passes the plain gate, with fewer right calls than GOOD on the same sessions."""
    reports: list[FoldReport] = []
    for report in GOOD:
        predictions = report.predictions.copy()
        wronged = [0, 1, 2, 3]  # right ones, two of each direction
        predictions[wronged, 0] = 2 * report.close[wronged] - predictions[wronged, 0]
        reports.append(dataclasses.replace(report, predictions=predictions))
    return reports


def test_a_candidate_that_passes_and_is_worse_than_the_active_model_stays(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=GOOD)
    assert registry.gate("AAA")["AAA"].outcome == "promoted"
    registry.candidate("AAA", TUESDAY, weights=1, tested=worse_than_good())
    result = registry.gate("AAA")["AAA"]
    assert (result.outcome, result.version) == ("stays candidate", V_MONDAY)
    (rule,) = result.verdict.failures
    assert (rule.rule, rule.figure, rule.bound) == ("not_worse_than_active", 14, 30)
    assert "107 right and 93 wrong next-day calls, against 115 and 85 of the active model v1.2012-12-03" in rule.reason
    assert registry.gate("AAA")["AAA"].is_news is False
    assert registry.statuses("AAA") == [("active", V_MONDAY), ("candidate", None)]


def test_a_tie_keeps_the_active_model_and_a_smaller_error_replaces_it(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=GOOD)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=list(GOOD))
    tie = registry.gate("AAA")["AAA"]
    assert [rule.rule for rule in tie.verdict.failures] == ["not_worse_than_active"]
    registry.candidate("AAA", WEDNESDAY, weights=2, tested=[bolder(report, 5) for report in GOOD])
    assert registry.gate("AAA")["AAA"].outcome == "promoted"
    assert registry.statuses("AAA") == [("retired", V_MONDAY), ("candidate", None), ("active", f"v1.{WEDNESDAY}")]


def test_a_degraded_active_model_is_replaced_by_whoever_passes(registry: Registry) -> None:
    monday = registry.candidate("AAA", MONDAY, tested=GOOD)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=worse_than_good())
    assert registry.gate("AAA", degraded=[monday.checkpoint_id + 1000])["AAA"].outcome == "stays candidate"
    result = registry.gate("AAA", degraded=[monday.checkpoint_id])["AAA"]
    assert (result.outcome, result.retired_version) == ("promoted", V_MONDAY)
    assert result.verdict.rules[-1].reason == (
        "the active model v1.2012-12-03 is degraded, so no comparison with it is needed"
    )


def test_a_model_that_was_rolled_back_to_is_compared_by_the_backtest_of_its_network(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=[bolder(report, 9) for report in GOOD])
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=20, tested=GOOD)
    registry.gate("AAA")
    with registry.database.transaction() as conn:
        rollback(conn, registry.folder, "AAA", to=None, requested_by="ada", why="it is worse", architecture=SMALL)
    registry.candidate("AAA", WEDNESDAY, weights=10, tested=GOOD)
    assert registry.gate("AAA")["AAA"].retired_version == f"{V_MONDAY}.2", "10 is bolder than the 9 of Monday"


def test_other_sessions_and_a_missing_backtest_leave_the_decision_to_the_strict_gate(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=GOOD)
    registry.gate("AAA")
    later = [dataclasses.replace(report, sessions=report.sessions + 4000) for report in GOOD]
    registry.candidate("AAA", TUESDAY, weights=1, tested=later)
    result = registry.gate("AAA")["AAA"]
    assert result.outcome == "stays candidate"
    (rule,) = result.verdict.failures
    assert (rule.rule, rule.figure, rule.bound) == ("not_worse_than_active", 0, 63)
    assert rule.reason.startswith(
        "0 test sessions are shared with the active model v1.2012-12-03, at least 63 are needed for a comparison; the "
        "strict gate decides instead: the candidate fails its rules "
    )
    skilled = [caller(report) for report in later]
    registry.candidate("AAA", WEDNESDAY, weights=2, tested=skilled)
    settings = registry.settings.replace(tickers=("AAA",))
    assert registry.gate("AAA", settings=settings)["AAA"].outcome == "promoted"


def caller(report: FoldReport) -> FoldReport:
    """A report whose every forecast comes nearly true at all horizons."""
    close = report.close[:, None]
    said = close + 0.9 * (report.actuals - close)
    said[::10, 0] = close[::10, 0] * 1.0101 - (said[::10, 0] - close[::10, 0]) / 10
    return dataclasses.replace(report, predictions=said)


def test_the_backtest_with_the_present_plan_is_taken_before_a_newer_one(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=GOOD)
    registry.gate("AAA")
    short = BacktestConfig(num_folds=1)
    other_plan = dataclasses.replace(registry, settings=registry.settings.replace(backtest=short))
    other_plan.candidate("AAA", MONDAY, tested=GOOD[:1])
    with registry.database.transaction() as conn:
        found = {
            plan.num_folds: active_models(conn, ["AAA"], plan=plan, degraded=())["AAA"]
            for plan in (registry.settings.backtest, short, BacktestConfig(num_folds=9))
        }
    assert {folds: len(active.tests.sessions) for folds, active in found.items()} == {4: 200, 1: 100, 9: 100}
    tests = found[4].tests
    assert np.array_equal(tests.predicted, np.concatenate([report.predictions[:, 0] for report in GOOD]))
    assert np.array_equal(tests.actual, np.concatenate([report.actuals[:, 0] for report in GOOD]))
    assert np.array_equal(tests.volatility, np.full(200, 0.01))


def test_an_active_model_without_a_backtest_on_record_has_no_tests(registry: Registry) -> None:
    checkpoint = registry.candidate("AAA", MONDAY)
    with registry.database.transaction() as conn:
        conn.execute(
            "insert into gate_verdict (ticker, trained_on, checkpoint_id, passed, rules)"
            " values ('AAA', %s, %s, true, '[]')",
            (MONDAY, checkpoint.checkpoint_id),
        )
        conn.execute(
            "update checkpoint set status = 'active', activated_at = now(), major = 1, version = 'v1.x',"
            " file_name = 'x.pt'"
        )
        (active,) = active_models(conn, ["AAA", "BBB"], plan=registry.settings.backtest, degraded=()).values()
    assert (active.version, len(active.tests.sessions), active.is_degraded) == ("v1.x", 0, False)


def test_models_of_a_simulation_are_not_compared_with_the_active_model(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=GOOD)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=list(GOOD))
    with registry.database.transaction() as conn:
        compared = judge_newest(conn, ["AAA"], registry.settings).decisions[0].verdict
        simulated = judge_newest(conn, ["AAA"], registry.settings, trained_on=TUESDAY).decisions[0].verdict
    assert [rule.rule for rule in compared.failures] == ["not_worse_than_active"]
    assert simulated.passed


def test_a_verdict_of_the_four_rules_alone_still_loads_and_shows(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=GOOD)
    verdict = registry.gate("AAA")["AAA"].verdict
    assert verdict.evidence is not None
    evidence = verdict.evidence.as_dict()
    del evidence["neutral_band_volatilities"]
    with registry.database.transaction() as conn:
        conn.execute(
            """insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules, evidence)
               select ticker, trained_on, checkpoint_id, backtest_id, true, %s, %s from gate_verdict""",
            (Jsonb([asdict(rule) for rule in verdict.rules[:4]]), Jsonb(evidence)),
        )
        (entry,) = list_registry(conn)
        (network,) = judged_networks(conn, "AAA")
    assert entry.verdict is not None
    assert entry.verdict.rules == network.verdict.rules == verdict.rules[:4]
    assert entry.verdict.evidence == verdict.evidence
    assert entry.verdict.passed


def test_another_band_of_volatilities_is_another_trial(registry: Registry) -> None:
    registry.candidate("AAA", MONDAY, tested=worse_than_good()[:1])

    def num_settings(forecast: ForecastConfig) -> int:
        multiple_testing = registry.gate("AAA", settings=registry.settings.replace(forecast=forecast))["AAA"].verdict
        assert multiple_testing.multiple_testing is not None
        return multiple_testing.multiple_testing.num_settings

    assert num_settings(ForecastConfig()) == 1
    assert num_settings(ForecastConfig(neutral_band_volatilities=0.1)) == 2
    assert num_settings(ForecastConfig(neutral_band_volatilities=0.1)) == 2
    assert num_settings(ForecastConfig(neutral_band_volatilities=0.2)) == 3
    assert num_settings(ForecastConfig()) == 3


def test_all_active_models_are_read_in_one_statement(registry: Registry) -> None:
    tickers = [f"T{n}" for n in range(4)]
    for ticker in tickers:
        registry.candidate(ticker, MONDAY, tested=GOOD)
    registry.gate(*tickers)
    num_copies = 0

    class CountingCursor(psycopg.Cursor[tuple[object, ...]]):
        def copy(self, *args: object, **kwargs: object):  # pyright: ignore
            nonlocal num_copies
            num_copies += 1
            return super().copy(*args, **kwargs)  # pyright: ignore

        def execute(self, *args: object, **kwargs: object):  # pyright: ignore
            raise AssertionError("one COPY is enough")

    with registry.database.connect() as conn:
        conn.cursor_factory = CountingCursor
        found = active_models(conn, tickers, plan=registry.settings.backtest, degraded=())
        conn.cursor_factory = psycopg.Cursor
    assert (sorted(found), num_copies) == (tickers, 1)
