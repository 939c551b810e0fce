"""From candidate to active: all of it or nothing, once, whoever else tries."""

import hashlib
import io
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import date
from typing import Any, Self

import psycopg
import pytest
from rich.console import Console

from ldtm_cli.commands.registry import print_registry, registry_rows
from ldtm_lib.errors import RegistryConflict
from ldtm_lib.models import checkpoint
from ldtm_lib.project import Project
from ldtm_lib.registry import failures
from ldtm_lib.registry.failures import Failure
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.judgement import Judgement, judge_newest
from ldtm_lib.registry.lifecycle import rollback
from ldtm_lib.registry.listing import list_registry
from ldtm_lib.registry.promotion import Promotion, promote
from ldtm_lib.settings import ArchitectureConfig

MONDAY, TUESDAY, WEDNESDAY = date(2012, 12, 3), date(2012, 12, 4), date(2012, 12, 5)
ALL_CHECKPOINTS = (
    "select checkpoint_id, status, version, file_name, activated_at, retired_at from checkpoint order by 1"
)
ALL_VERDICTS = "select verdict_id, ticker, trained_on, checkpoint_id, passed, decided_at from gate_verdict order by 1"


def test_a_candidate_that_passes_becomes_active_under_its_versioned_name(registry) -> None:
    candidate = registry.candidate("AAA", MONDAY, tested=registry.good)
    result = registry.gate("AAA")["AAA"]
    assert (result.outcome, result.version, result.retired_version) == ("promoted", "v1.2012-12-03", None)
    assert result.is_news
    assert result.message == "AAA v1.2012-12-03 is active"
    path = registry.folder / "AAA_ldtm_v1.2012-12-03.pt"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == candidate.file_sha256
    assert checkpoint.load(path, sha256=candidate.file_sha256, architecture=registry.settings.architecture)
    assert registry.rows("select ticker, trained_on, checkpoint_id, passed from gate_verdict") == [
        ("AAA", MONDAY, candidate.checkpoint_id, True)
    ]


def test_the_next_one_retires_the_previous_one(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.good)
    result = registry.gate("AAA")["AAA"]
    assert (result.version, result.retired_version) == ("v1.2012-12-04", "v1.2012-12-03")
    assert registry.statuses("AAA") == [("retired", "v1.2012-12-03"), ("active", "v1.2012-12-04")]
    assert registry.files() >= {"AAA_ldtm_v1.2012-12-03.pt", "AAA_ldtm_v1.2012-12-04.pt"}


def test_a_candidate_that_fails_stays_and_every_failed_rule_is_named_with_figure_and_bound(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.bad[:1])
    result = registry.gate("AAA")["AAA"]
    assert (result.outcome, result.version, result.is_news) == ("stays candidate", "v1.2012-12-03", True)
    assert result.message == (
        "AAA stays candidate: next-day direction right in 50 of 100 forecasts that name one: 50.00%, "
        "at least 52.00% are needed; 1 walk-forward folds were tested, at least 2 are needed; next-day direction right "
        "in 50.00%, which must exceed the 50.00% of always saying up on the same days; on 100 shared test sessions 50 "
        "right and 50 wrong next-day calls, against 60 and 40 of the active model v1.2012-12-03: an excess of 0 "
        "against 20, a larger excess is needed, or the same with a smaller error; mean next-day price error 2.001% "
        "against 1.801%: a model that is no worse would look this bad with probability 16.74%, more than 5.00% is "
        "needed"
    )
    assert registry.statuses("AAA") == [("active", "v1.2012-12-03"), ("candidate", None)]
    ((rules,),) = registry.rows("select rules from gate_verdict order by verdict_id desc limit 1")
    assert rules == [asdict(rule) for rule in result.verdict.rules]
    assert [(r["rule"], r["figure"], r["bound"]) for r in rules if not r["passed"]] == [
        ("direction_accuracy", 0.5, 0.52),
        ("folds", 1, 2),
        ("best_constant", 0.5, 0.5),
        ("not_worse_than_active", 0, 20),
    ]


def test_doing_it_again_changes_nothing_and_is_no_news(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.candidate("BBB", MONDAY, tested=registry.bad)
    registry.gate("AAA", "BBB", "CCC")
    before = (registry.rows(ALL_CHECKPOINTS), registry.rows(ALL_VERDICTS), registry.files())
    again = registry.gate("AAA", "BBB", "CCC")
    assert {t: (p.outcome, p.is_news) for t, p in again.items()} == {
        "AAA": ("already promoted", False),
        "BBB": ("stays candidate", False),
        "CCC": ("not trained", False),
    }
    assert again["AAA"].verdict.passed
    assert (registry.rows(ALL_CHECKPOINTS), registry.rows(ALL_VERDICTS), registry.files()) == before


def test_another_bound_is_another_verdict(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    demanding = registry.settings.replace(gate=registry.settings.gate.replace(min_direction_accuracy=0.6))
    registry.gate("AAA", settings=demanding)
    lenient = registry.settings
    assert registry.gate("AAA", settings=lenient)["AAA"].outcome == "promoted"
    assert registry.rows("select passed from gate_verdict order by verdict_id") == [(False,), (True,)]


def test_the_major_version_goes_up_when_the_architecture_changes_and_only_then(registry) -> None:
    wider = registry.settings.replace(architecture=ArchitectureConfig(hidden=8, head_hidden=4))
    versions: list[str | None] = []
    for day, (trained_on, settings) in enumerate(
        [(MONDAY, registry.settings), (TUESDAY, wider), (WEDNESDAY, wider), (date(2012, 12, 6), registry.settings)]
    ):
        architecture = settings.architecture
        registry.candidate("AAA", trained_on, weights=day, architecture=architecture, tested=registry.good)
        versions.append(registry.gate("AAA", settings=settings)["AAA"].version)
    assert versions == ["v1.2012-12-03", "v2.2012-12-04", "v2.2012-12-05", "v3.2012-12-06"]
    assert registry.rows("select major from checkpoint order by checkpoint_id") == [(1,), (2,), (2,), (3,)]


def test_a_second_network_of_the_same_day_gets_a_name_of_its_own(registry) -> None:
    versions = []
    for weights in range(3):
        registry.candidate("AAA", MONDAY, weights=weights, data=f"data {weights}", tested=registry.good)
        versions.append(registry.gate("AAA")["AAA"].version)
    assert versions == ["v1.2012-12-03", "v1.2012-12-03.2", "v1.2012-12-03.3"]
    assert registry.files() >= {f"AAA_ldtm_{version}.pt" for version in versions}
    assert registry.rows("select version from checkpoint where status = 'active'") == [(versions[-1],)]


def test_a_file_that_somebody_left_under_the_name_is_not_overwritten(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    stranger = registry.folder / "AAA_ldtm_v1.2012-12-03.pt"
    stranger.write_bytes(b"something else")
    assert registry.gate("AAA")["AAA"].version == "v1.2012-12-03.2"
    assert stranger.read_bytes() == b"something else"


@pytest.mark.parametrize(("harm", "said"), [("missing", "is missing"), ("altered", "was altered")])
def test_a_candidate_whose_file_is_not_the_recorded_one_is_refused_and_the_others_go_on(
    registry, harm: str, said: str
) -> None:
    broken = registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.candidate("BBB", MONDAY, tested=registry.good)
    path = registry.folder / broken.file_name
    content = path.read_bytes()
    path.unlink()
    if harm == "altered":
        path.write_bytes(content[:300] + b"!" + content[301:])
    results = registry.gate("AAA", "BBB")
    assert (results["AAA"].outcome, results["BBB"].outcome) == ("stays candidate", "promoted")
    assert [rule.rule for rule in results["AAA"].verdict.failures] == ["file"]
    assert said in results["AAA"].message
    assert registry.statuses("AAA") == [("candidate", None)]


def test_a_candidate_of_another_architecture_than_the_present_one_is_refused(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    wider = registry.settings.replace(architecture=ArchitectureConfig(hidden=8, head_hidden=4))
    result = registry.gate("AAA", settings=wider)["AAA"]
    assert result.outcome == "stays candidate"
    assert "hidden is 6, not 8" in result.message


def test_a_candidate_without_a_backtest_stays_with_the_reason(registry) -> None:
    unknown, failed = registry.candidate("AAA", MONDAY), registry.candidate("BBB", MONDAY)
    with registry.database.transaction() as conn:
        failures.record(conn, [Failure(key=failed.key, part="backtest", reason="fold 2 diverged")])
    results = registry.gate("AAA", "BBB")
    assert unknown.status == "candidate"
    assert results["AAA"].message == (
        "AAA stays candidate: AAA has no backtest: none with the present [backtest] settings is on record; run it"
    )
    assert results["BBB"].message == "BBB stays candidate: BBB has no backtest: fold 2 diverged"


def test_a_ticker_whose_newest_training_failed_has_a_verdict_with_the_reason_and_keeps_its_active_one(registry) -> None:
    candidate = registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    later = replace(candidate.key, trained_on=TUESDAY)
    with registry.database.transaction() as conn:
        failures.record(conn, [Failure(key=later, part="checkpoint", reason="its loss is not finite")])
    result = registry.gate("AAA")["AAA"]
    assert (result.outcome, result.version) == ("not trained", "v1.2012-12-03")
    assert result.message == "AAA was not trained: its loss is not finite"
    assert registry.rows(ALL_VERDICTS)[-1][1:5] == ("AAA", TUESDAY, None, False)


def test_a_ticker_that_was_never_trained_has_a_verdict_too(registry) -> None:
    result = registry.gate("ZZZ")["ZZZ"]
    assert (result.outcome, result.version, result.is_news) == ("not trained", None, True)
    assert result.message == "ZZZ was not trained: no training of it is on record"
    assert registry.rows("select ticker, trained_on, checkpoint_id from gate_verdict") == [("ZZZ", None, None)]


def _promote_and_fail_before_commit(registry) -> None:
    with registry.database.connect() as conn:
        (result,) = run_gate(conn, registry.folder, ["AAA"], registry.settings, degraded=(), run_id="test").promotions
        assert result.outcome == "promoted"
        conn.rollback()


def test_an_error_after_the_copy_leaves_everything_as_it_was_and_a_rerun_finishes(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.good)
    before = (registry.rows(ALL_CHECKPOINTS), registry.rows(ALL_VERDICTS))
    _promote_and_fail_before_commit(registry)
    assert "AAA_ldtm_v1.2012-12-04.pt" in registry.files()
    assert (registry.rows(ALL_CHECKPOINTS), registry.rows(ALL_VERDICTS)) == before
    assert registry.gate("AAA")["AAA"].version == "v1.2012-12-04"
    assert registry.statuses("AAA") == [("retired", "v1.2012-12-03"), ("active", "v1.2012-12-04")]


KILLED_BEFORE_COMMIT = """
import json, os, signal, sys
from pathlib import Path
from ldtm_lib.settings import ArchitectureConfig, Settings
from ldtm_lib.database.connection import Database
from ldtm_lib.registry.gate_run import run_gate
given = json.loads(sys.argv[1])
settings = Settings(path=Path("x"), tickers=("AAA",), architecture=ArchitectureConfig(**given["architecture"]))
with Database(url=given["url"], schema="ldtm").transaction() as conn:
    (result,) = run_gate(conn, Path(given["folder"]), ["AAA"], settings, degraded=(), run_id="test").promotions
    assert result.outcome == "promoted", result.message
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_between_copy_and_commit_leaves_no_trace_that_matters(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    given = {
        "url": registry.database.url,
        "folder": str(registry.folder),
        "architecture": registry.settings.architecture.model_dump(round_trip=True),
    }
    killed = subprocess.run([sys.executable, "-c", KILLED_BEFORE_COMMIT, json.dumps(given)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert "AAA_ldtm_v1.2012-12-03.pt" in registry.files()
    assert registry.statuses("AAA") == [("candidate", None)]
    assert registry.rows(ALL_VERDICTS) == []
    assert registry.gate("AAA")["AAA"].version == "v1.2012-12-03"
    assert registry.statuses("AAA") == [("active", "v1.2012-12-03")]


def test_after_a_crash_another_network_of_that_day_takes_the_next_free_name(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    _promote_and_fail_before_commit(registry)
    second = registry.candidate("AAA", MONDAY, weights=1, data="restated", tested=registry.good)
    assert registry.gate("AAA")["AAA"].version == "v1.2012-12-03.2"
    content = (registry.folder / "AAA_ldtm_v1.2012-12-03.2.pt").read_bytes()
    assert hashlib.sha256(content).hexdigest() == second.file_sha256


@pytest.mark.parametrize("attempt", range(3))
def test_of_two_promotions_at_once_one_promotes_and_the_other_finds_it_done(registry, attempt: int) -> None:
    tickers = ["AAA", "BBB", "CCC"]
    for ticker in tickers:
        registry.candidate(ticker, MONDAY, tested=registry.good)
        registry.gate(ticker)
        registry.candidate(ticker, TUESDAY, weights=1, tested=registry.good)
    barrier = threading.Barrier(2)

    def race(order: list[str]) -> dict[str, str]:
        barrier.wait()
        return {ticker: result.outcome for ticker, result in registry.gate(*order).items()}

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(race, [tickers, tickers[::-1]])
    for ticker in tickers:
        assert {first[ticker], second[ticker]} == {"promoted", "already promoted"}
        assert registry.statuses(ticker) == [("retired", f"v1.{MONDAY}"), ("active", f"v1.{TUESDAY}")]
    assert len(registry.rows(ALL_VERDICTS)) == 2 * len(tickers)


def test_a_verdict_reached_before_a_newer_promotion_does_not_bring_the_older_network_back(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    judged = _judged(registry)
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.good)
    newer = registry.gate("AAA")["AAA"]
    (older,) = _promoted(registry, judged)
    assert newer.outcome == "promoted"
    assert (older.outcome, older.version) == ("superseded", "v1.2012-12-04")
    assert registry.statuses("AAA") == [("candidate", None), ("active", "v1.2012-12-04")]


def _judged(registry) -> Judgement:
    """A judgement that is not acted upon: whoever judges lets the next one go first."""
    with registry.database.transaction() as conn:
        return judge_newest(conn, ["AAA"], registry.settings)


def _promoted(registry, judged: Judgement) -> list[Promotion]:
    with registry.database.transaction() as conn:
        return promote(conn, registry.folder, judged.decisions, architecture=registry.settings.architecture)


class CountingCursor(psycopg.Cursor[tuple[object, ...]]):
    """A cursor that counts what is sent through all of its kind."""

    num_statements = 0

    def execute(self, *args: Any, **kwargs: Any) -> Self:
        CountingCursor.num_statements += 1
        return super().execute(*args, **kwargs)


def test_the_number_of_statements_does_not_grow_with_the_tickers(registry) -> None:
    def num_statements(tickers: list[str]) -> int:
        for ticker in tickers:
            registry.candidate(ticker, MONDAY, tested=registry.good)
        CountingCursor.num_statements = 0
        with registry.database.connect() as counted:
            counted.cursor_factory = CountingCursor
            results = run_gate(
                counted, registry.folder, tickers, registry.settings, degraded=(), run_id="test"
            ).promotions
        assert {result.outcome for result in results} == {"promoted"}
        return CountingCursor.num_statements

    assert 5 < num_statements(["AAA"]) == num_statements([f"T{n}" for n in range(12)])


def test_the_listing_names_the_active_model_the_candidate_and_the_verdict(registry, conn) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.good)
    registry.gate("AAA", "ZZZ")
    registry.candidate("AAA", WEDNESDAY, weights=2, tested=registry.bad)
    registry.gate("AAA")
    first, second = list_registry(conn)
    assert (first.ticker, first.active_version, first.active_trained_on) == ("AAA", "v1.2012-12-04", TUESDAY)
    assert (first.candidate_trained_on, first.num_retired) == (WEDNESDAY, 1)
    assert first.verdict is not None
    assert [rule.rule for rule in first.verdict.failures] == [
        "direction_accuracy",
        "best_constant",
        "not_worse_than_active",
    ]
    assert (second.ticker, second.active_version, second.candidate_trained_on) == ("ZZZ", None, None)
    assert second.verdict is not None
    assert not second.verdict.passed
    project = Project(settings=registry.settings, home=registry.folder, database=registry.database)
    rows = registry_rows(project)
    assert [row["passed"] for row in rows] == [False, False]
    assert rows[0]["failed"][0].startswith("next-day direction right in 99 of 200 forecasts")
    assert rows[1]["failed"] == ["ZZZ was not trained: no training of it is on record"]
    shown = io.StringIO()
    print_registry(Console(file=shown, width=200), rows)
    assert "99 of 200" in shown.getvalue()


def test_a_candidate_whose_file_was_removed_meanwhile_is_not_promoted(registry, conn) -> None:
    candidate = registry.candidate("AAA", MONDAY, tested=registry.good)
    conn.execute("update checkpoint set file_removed_at = now()")
    with pytest.raises(RegistryConflict, match=r"somebody else promoted or removed 1 of 1 candidate \(AAA\) meanwhile"):
        run_gate(conn, registry.folder, ["AAA"], registry.settings, degraded=(), run_id="test")
    conn.rollback()
    assert registry.statuses("AAA") == [("candidate", None)]
    assert candidate.file_name in registry.files()


def test_a_verdict_reached_before_a_promotion_that_was_taken_back_does_not_bring_an_older_network_in(registry) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    registry.candidate("AAA", TUESDAY, weights=1, tested=registry.good)
    judged = _judged(registry)
    registry.candidate("AAA", WEDNESDAY, weights=2, tested=registry.good)
    newer = registry.gate("AAA")["AAA"]
    architecture = registry.settings.architecture
    with registry.database.transaction() as conn:
        rollback(
            conn, registry.folder, "AAA", to=None, requested_by="ada", why="it is worse", architecture=architecture
        )
    (older,) = _promoted(registry, judged)
    assert newer.version == "v1.2012-12-05"
    assert (older.outcome, older.version) == ("superseded", "v1.2012-12-03.2")
    assert older.message == (
        "AAA stays with v1.2012-12-03.2: a network newer than the judged candidate was promoted meanwhile"
    )
