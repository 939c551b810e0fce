"""The gate through Dagster, in this process, on real PostgreSQL: what the UI and a notification say of each ticker."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from ldtm_assets.definitions import definitions_for
from ldtm_assets.partitions import partition_range
from ldtm_lib.alerts.alert import open_alerts
from ldtm_lib.alerts.notifications import compose_notifications
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.registry.lifecycle import retire
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import GateConfig, Settings, load_settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.registry.registry_fixtures import BAD, GOOD, Registry

DAY = date(2012, 12, 3)
RULES = {"direction_accuracy", "price_error", "leakage", "folds", "calls", "best_constant", "active_model"}
Gate = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def logged() -> list[str]:
    """Everything that the last run left in Dagster's log."""
    return []


@pytest.fixture
def gate(
    registry: Registry, tmp_path: Path, calendar: Calendar, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> Gate:
    """Materializes the registry of some tickers, whose candidates lie in the registry under test."""
    monkeypatch.setenv("LDTM_DATABASE_URL", registry.database.url)

    listed: dict[str, None] = {}

    def run(*tickers: str, partition: str | None = None, strict: bool = False) -> dg.ExecuteInProcessResult:
        config = tmp_path / "universe.toml"
        listed.update(dict.fromkeys(tickers))
        named = ", ".join(f'"{ticker}"' for ticker in listed)
        config.write_text(
            f"tickers = [{named}]\n[architecture]\nhidden = 6\nhead_hidden = 4\n"
            f"[gate]\nstrict = {str(strict).lower()}\n[database]\nldtm_schema = '{registry.database.schema}'\n"
        )
        job = definitions_for(load_settings(config), calendar).resolve_implicit_global_asset_job_def()
        with dagster_instance(registry.database, tmp_path) as instance:
            result = job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey("registry")],
                partition_key=partition,
                tags=None if partition else partition_range(tickers[0], tickers[-1]),
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            logged[:] = [str(entry) for entry in instance.all_logs(result.run_id)]
            return result

    return run


@pytest.fixture
def registry_of_project(registry: Registry, tmp_path: Path) -> Registry:
    """The same registry with its files where the project looks for them."""
    return replace(registry, folder=tmp_path / ".ldtm" / registry.database.schema / "checkpoints")


def evaluations(result: dg.ExecuteInProcessResult, check: str) -> dict[str | None, dg.AssetCheckEvaluation]:
    """A check's evaluations by ticker, that of the run as a whole under None."""
    found = [e for e in result.get_asset_check_evaluations() if e.check_name == check]
    by_ticker = {evaluation.partition: evaluation for evaluation in found}
    assert len(by_ticker) == len(found), "one evaluation a ticker"
    return by_ticker


def test_each_ticker_has_an_evaluation_of_each_rule_with_figure_bound_and_evidence(
    gate: Gate, registry_of_project: Registry
) -> None:
    registry_of_project.candidate("AAA", DAY, tested=GOOD)
    registry_of_project.candidate("BBB", DAY, tested=BAD)
    result = gate("AAA", "BBB", "CCC")
    for check in RULES:
        assert set(evaluations(result, check)) == {"AAA", "BBB", "CCC", None}
        for ticker in ("AAA", "BBB", "CCC"):
            target = evaluations(result, check)[ticker].target_materialization_data
            assert target is not None, "without one the page of the check takes the partition for missing"
            assert target.run_id == result.run_id
    good, bad = (evaluations(result, "direction_accuracy")[ticker] for ticker in ("AAA", "BBB"))
    assert (good.passed, bad.passed) == (True, False)
    assert good.description == (
        "next-day direction right in 115 of 200 forecasts that name one: 57.50%, at least 52.00% are needed"
    )
    figures = {name: value.value for name, value in good.metadata.items()}
    assert figures["outcome"] == "AAA v1.2012-12-03 is active"
    assert figures["active version"] == "v1.2012-12-03"
    assert (figures["figure"], figures["bound"]) == ("57.50%", "52.00%")
    assert figures["independent days"] == "200"
    assert (figures["95% interval, low"], figures["95% interval, high"]) == ("50.6%", "64.1%")
    assert figures["a coin passes with probability"] == "31.0%"
    assert figures["Pesaran-Timmermann p"] == "0.017"
    assert figures["judged for the same session"] == "2"
    assert figures["trainings of this ticker so far"] == "1"
    errors = {name: value.value for name, value in evaluations(result, "price_error")["AAA"].metadata.items()}
    assert float(errors["one month: independent days"]) == pytest.approx(200 / 21, rel=0.15)
    assert errors["next day: error relative to no change"] == "0.925", (
        "moves of 1% said; +2% came 101 times, 58 of them called, -2% 99 times, 57 of them called: "
        "(58/102 + 43 * 3/102 + 57/98 + 42 * 3/98) / (101 * 2/102 + 99 * 2/98)"
    )


def test_a_refused_ticker_blocks_itself_alone_and_the_ui_says_why(gate: Gate, registry_of_project: Registry) -> None:
    registry_of_project.candidate("AAA", DAY, tested=GOOD)
    registry_of_project.candidate("BBB", DAY, tested=BAD)
    result = gate("AAA", "BBB", "CCC")
    assert result.success
    assert registry_of_project.statuses("AAA") == [("active", "v1.2012-12-03")]
    assert registry_of_project.statuses("BBB") == [("candidate", None)]
    never = evaluations(result, "folds")["CCC"]
    assert (never.passed, never.description) == (
        False,
        "CCC was not trained: no training of it is on record",
    )
    whole = evaluations(result, "gate")[None]
    assert whole.passed is False
    shown = {name: value.value for name, value in whole.metadata.items()}
    assert (shown["passed"], shown["failed"], shown["tickers judged now"]) == (1, 2, 2)
    assert shown["promoted"] == "- AAA v1.2012-12-03 is active"
    assert "- BBB stays candidate: next-day direction right in 99 of 200" in str(shown["reasons"])
    assert 1 <= float(shown["effective number of independent tickers"]) <= 2
    (card,) = [
        event.step_materialization_data.materialization.metadata["model card"].value
        for event in result.get_asset_materialization_events()
        if event.partition == "AAA"
    ]
    assert "- Direction right on 115 of 200 days with a call: 57.5%" in str(card)
    assert "A coin would have been right at least as often with probability 2%" in str(card)


def test_the_strict_gate_has_a_check_of_its_own_and_refuses_what_luck_would_do(
    gate: Gate, registry_of_project: Registry
) -> None:
    registry_of_project.candidate("AAA", DAY, tested=GOOD)
    assert evaluations(gate("AAA", "BBB"), "strict_gate") == {}
    registry_of_project.candidate("BBB", DAY, tested=GOOD, weights=1)
    result = gate("AAA", "BBB", strict=True)
    strict = evaluations(result, "strict_gate")
    assert strict["BBB"].passed is False
    assert "that is no better would look this good with probability 36.28%" in str(strict["BBB"].description)
    assert evaluations(result, "direction_accuracy")["BBB"].passed is True
    assert registry_of_project.statuses("BBB") == [("candidate", None)]
    assert registry_of_project.statuses("AAA") == [("active", "v1.2012-12-03")], "what was promoted stays so"
    assert "a forecast that is no better would look this good" in str(strict["AAA"].description), (
        "and is shown what it would break"
    )


def test_a_single_ticker_has_its_figures_and_not_those_of_a_summary(gate: Gate, registry_of_project: Registry) -> None:
    registry_of_project.candidate("AAA", DAY, tested=GOOD)
    result = gate("AAA", "BBB", partition="AAA")
    for check in RULES:
        assert set(evaluations(result, check)) == {"AAA"}
    shown = evaluations(result, "direction_accuracy")["AAA"]
    assert shown.passed
    assert str(shown.description).startswith("next-day direction right in 115 of 200")
    figures = {name: value.value for name, value in shown.metadata.items()}
    assert (figures["figure"], figures["bound"], figures["independent days"]) == ("57.50%", "52.00%", "200")
    assert shown.target_materialization_data is not None


def test_a_ticker_whose_model_was_taken_out_is_no_success_and_says_by_whom_and_why(
    gate: Gate, registry_of_project: Registry
) -> None:
    registry_of_project.candidate("AAA", DAY, tested=GOOD)
    gate("AAA", "BBB")
    with registry_of_project.database.transaction() as conn:
        retire(conn, "AAA", requested_by="Ada", why="it guessed the split")
    result = gate("AAA", "BBB")
    reason = "by Ada: it guessed the split; it abstains until another one passes"
    whole = evaluations(result, "gate")[None]
    assert whole.passed is False
    assert reason in str(whole.metadata["reasons"].value)
    assert reason in str(evaluations(result, "folds")["AAA"].metadata["outcome"].value)
    (card,) = [
        event.step_materialization_data.materialization.metadata["model card"].value
        for event in result.get_asset_materialization_events()
        if event.partition == "AAA"
    ]
    assert reason in str(card).splitlines()[0]


def test_a_message_has_every_reason_and_the_card_of_each_promotion_and_comes_once(
    gate: Gate, registry_of_project: Registry, logged: list[str]
) -> None:
    registry_of_project.candidate("AAA", DAY, tested=GOOD)
    registry_of_project.candidate("BBB", DAY, tested=BAD)
    gate("AAA", "BBB")
    with registry_of_project.database.transaction() as conn:
        session = last_closed_session(conn)
        assert len(compose_notifications(conn, [], ui_url="http://127.0.0.1:3000")) == 1
        [(session_of, severity, title, body)] = conn.execute(
            "select session, severity, title, body from notification"
        ).fetchall()
    assert (session_of, severity) == (session, "warning")
    assert title == f"LDTM {session}: 1 warning, 1 piece of news"
    main, refused, promoted, *links = [line for line in body.splitlines() if line]
    assert refused == (
        "WARN  gate  BBB  stays candidate: next-day direction right in 99 of 200 forecasts that name one: 49.50%, "
        "at least 52.00% are needed; next-day direction right in 49.50%, which must exceed the 50.50% of always saying "
        "up on the same days"
    )
    assert promoted.startswith("INFO  gate  AAA  v1.2012-12-03 is active. Direction right on 115 of 200 days")
    assert "A coin would have been right at least as often with probability" in promoted
    assert [main, *links] == [
        f"http://127.0.0.1:3000/assets/registry?view=partitions&partition={ticker}" for ticker in ("BBB", "AAA")
    ]
    assert any("AAA: v1.2012-12-03 is active. Direction right on 115" in entry for entry in logged)
    gate("AAA", "BBB")
    with registry_of_project.database.transaction() as conn:
        assert compose_notifications(conn, [], ui_url="http://127.0.0.1:3000") == [], "nothing is news the second time"
        assert open_alerts(conn) == [], "and news is no alert that stays open"


def test_statements_stay_and_events_grow_with_the_tickers_and_no_faster(
    gate: Gate, registry_of_project: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_sent = 0
    execute = psycopg.Cursor.execute

    def counted(cursor: psycopg.Cursor[object], *args: object, **kwargs: object) -> object:
        nonlocal num_sent
        num_sent += 1
        return execute(cursor, *args, **kwargs)  # pyright: ignore

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)

    def run_of(tickers: list[str]) -> tuple[int, int]:
        nonlocal num_sent
        for number, ticker in enumerate(tickers):
            registry_of_project.candidate(ticker, DAY, tested=GOOD if number % 2 else BAD)
        num_sent = 0
        result = gate(*tickers)
        return num_sent, len(list(result.all_events))

    statements_5, events_5 = run_of([f"A{n}" for n in range(5)])
    statements_20, events_20 = run_of([f"B{n:02d}" for n in range(20)])
    assert 5 < statements_5 == statements_20
    assert events_20 - events_5 == 15 * (len(RULES) + 1), "one evaluation a rule and one materialization a ticker"


def test_the_family_of_a_session_is_the_same_whether_judged_at_once_or_again_one_by_one(
    registry: Registry, small_settings: Settings
) -> None:
    strict = small_settings.replace(gate=GateConfig(strict=True))
    tickers = ["AAA", "BBB", "CCC"]
    for number, ticker in enumerate(tickers):
        registry.candidate(ticker, DAY, tested=GOOD if number else BAD)
    together = registry.gate(*tickers, settings=strict)
    (alone,) = registry.gate("BBB", settings=strict).values()
    assert alone.verdict == together["BBB"].verdict
    assert alone.is_news is False
    assert registry.rows("select count(*) from gate_verdict") == [(3,)]
