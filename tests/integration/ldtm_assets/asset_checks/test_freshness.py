"""Freshness checks as Dagster runs them: what a morning's run records, what a person sees, when the schedule asks."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from ldtm_assets.asset_checks.freshness import freshness_checks
from ldtm_assets.automation.schedules import freshness_schedule
from ldtm_assets.jobs import FRESHNESS_JOB, freshness_job
from ldtm_assets.resources import ProjectResource
from ldtm_lib.alerts.alert import Alert, open_alerts, raise_alerts
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.errors import CalendarError
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import AutomationConfig, Settings
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ledger_rows import LedgerRows, enter_service

NEW_YORK = ZoneInfo("America/New_York")
FRIDAY = date(2013, 1, 18)
TICKERS = [f"T{number:03}" for number in range(60)]
RunChecks = Callable[..., dict[str, dg.AssetCheckEvaluation]]


@pytest.fixture
def instance(tmp_path: Path, database: Database) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(database, tmp_path) as instance:
        yield instance


@pytest.fixture
def is_automated() -> bool:
    return False


@pytest.fixture
def run_checks(
    tmp_path: Path,
    database: Database,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    is_automated: bool,
) -> RunChecks:
    """Runs the job of 60 tickers; returns what each check said."""
    monkeypatch.setenv("LDTM_DATABASE_URL", database.url)
    config = tmp_path / "universe.toml"
    config.write_text(f"tickers = {TICKERS}\n[automation]\nenabled = {'true' if is_automated else 'false'}")
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(name) for name in ("prices", "snapshots", "fillbacks", "registry")],
        asset_checks=[freshness_checks],
        jobs=[freshness_job],
        resources={"project": ProjectResource(config_path=str(config))},
    )

    def run(session: date | None = None, only: str | None = None) -> dict[str, dg.AssetCheckEvaluation]:
        job = definitions.resolve_job_def(FRESHNESS_JOB)
        if only:
            job = job.get_subset(asset_check_selection={key for key in freshness_checks.check_keys if key.name == only})
        result = job.execute_in_process(
            instance=instance,
            run_config={
                "ops": {"freshness": {"config": {"session": str(session)} if session else {}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        assert result.success
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    return run


def shown(check: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: value.value for name, value in check.metadata.items()}


def bring(rows: LedgerRows, conn: Connection, *tickers: str) -> None:
    for ticker in tickers:
        rows.bar(ticker, FRIDAY, 100)
        rows.forecast(ticker, FRIDAY, kind="live")
    conn.commit()


def test_after_the_deadline_what_is_missing_is_an_error_with_the_session_and_the_tickers(
    run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection
) -> None:
    for ticker in TICKERS[:2]:
        enter_service(conn, ticker, FRIDAY)
    bring(ledger_rows, conn, *TICKERS[2:])
    found = run_checks(FRIDAY)
    assert {name: (check.passed, check.severity.value) for name, check in found.items()} == {
        "prices_are_fresh": (False, "ERROR"),
        "snapshots_are_fresh": (False, "ERROR"),
        "actuals_are_fresh": (True, "ERROR"),
        "models_are_fresh": (True, "WARN"),
    }
    assert shown(found["snapshots_are_fresh"]) == {
        "session": "2013-01-18",
        "deadline": "2013-01-22 14:30 UTC, passed",
        "tickers": 60,
        "live": 0,
        "late": 58,
        "simulated": 0,
        "abstained": 0,
        "late tickers": "\n".join(f"- {ticker}" for ticker in TICKERS[2:52]) + "\n- and 8 more",
        "number missing": 2,
        "missing": "- T000\n- T001",
        "failing": {
            "2013-01-18": "2 tickers without a row of 2013-01-18: T000, T001; deadline 2013-01-22 14:30 UTC, passed"
        },
        "passing": [],
    }
    assert found["snapshots_are_fresh"].description == (
        "2 tickers without a row of 2013-01-18: T000, T001; deadline 2013-01-22 14:30 UTC, passed"
    )
    assert shown(found["prices_are_fresh"])["number missing"] == 2
    assert {str(shown(check)["session"]) for check in found.values()} == {"2013-01-18"}
    assert all(check.partition is None for check in found.values())


def test_at_most_fifty_tickers_are_named(run_checks: RunChecks) -> None:
    found = run_checks(FRIDAY)["prices_are_fresh"]
    assert str(shown(found)["missing"]).splitlines() == [*(f"- {ticker}" for ticker in TICKERS[:50]), "- and 10 more"]


def test_before_the_deadline_a_person_gets_a_warning_about_the_newest_session(
    run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection
) -> None:
    ledger_rows.open_the_session_after(FRIDAY, timedelta(hours=2))
    enter_service(conn, TICKERS[0], FRIDAY)
    bring(ledger_rows, conn, *TICKERS[1:])
    found = run_checks()
    assert (found["snapshots_are_fresh"].passed, found["snapshots_are_fresh"].severity.value) == (False, "WARN")
    page = shown(found["snapshots_are_fresh"])
    assert (page["session"], page["live"], page["late tickers"], page["missing"]) == (
        "2013-01-18",
        59,
        "none",
        "- T000",
    )
    assert str(page["deadline"]).endswith("UTC, not reached yet")
    bring(ledger_rows, conn, "T000")
    assert all(check.passed for check in run_checks().values())


def test_an_actual_that_nobody_filled_is_an_error(
    run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection
) -> None:
    ledger_rows.forecast("T007", date(2013, 1, 17))
    bring(ledger_rows, conn, "T007")
    found = run_checks(FRIDAY)["actuals_are_fresh"]
    assert not found.passed
    assert shown(found)["missing"] == "- T007 2013-01-17, next day"


def test_a_session_completed_after_its_deadline_is_an_alert_until_the_next_check(
    run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection
) -> None:
    enter_service(conn, TICKERS[-1], FRIDAY)
    bring(ledger_rows, conn, *TICKERS[:-1])
    keys = ["check/snapshots/snapshots_are_fresh/2013-01-18", "check/snapshots/record_is_intact"]
    raise_alerts(
        conn,
        [Alert(key=key, kind="check", severity="error", subject=key, summary="", session=FRIDAY) for key in keys],
    )
    conn.commit()
    run_checks(date(2013, 1, 22))
    assert len(open_alerts(conn)) == 2
    ledger_rows.forecast(TICKERS[-1], FRIDAY, kind="late")
    conn.commit()
    run_checks(date(2013, 1, 22))
    assert [alert.key for alert in open_alerts(conn)] == [keys[1]]


def test_a_bar_that_never_comes_is_given_up_when_its_actual_is_void(
    run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection, calendar: Calendar
) -> None:
    """Rows and fills can be made at any time: they are never given up."""
    newest = calendar.last_closed(datetime.now(UTC))
    waited_for, void = calendar.offset(newest, -10), calendar.offset(newest, -11)
    enter_service(conn, "T000", void)
    checks = {"prices": "prices_are_fresh", "snapshots": "snapshots_are_fresh"}
    keys = {day: [f"check/{asset}/{check}/{day}" for asset, check in checks.items()] for day in (waited_for, void)}
    raise_alerts(
        conn,
        [
            Alert(key=key, kind="check", severity="error", subject="-", summary="no bar of T000", session=day)
            for day, of_day in keys.items()
            for key in of_day
        ],
    )
    conn.commit()
    run_checks(FRIDAY)
    assert {alert.key for alert in open_alerts(conn)} == {*keys[waited_for], keys[void][1]}
    summary = conn.execute("select summary from alert where resolved_at is not null").fetchall()
    assert summary == [("given up: no bar of T000",)]


@pytest.mark.parametrize(("is_automated", "severity"), [(True, "ERROR"), (False, "WARN")])
def test_a_ticker_that_nobody_trained_on_its_new_bars_for_days_is_named_until_somebody_did(
    run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection, severity: str
) -> None:
    conn.execute("alter table bar disable trigger user")
    ledger_rows.bar("T003", FRIDAY, 100)
    conn.execute("update bar set recorded_at = now() - interval '9 days'")
    conn.commit()
    found = run_checks(FRIDAY)["models_are_fresh"]
    assert (found.passed, found.severity.value) == (False, severity)
    summary = (
        "not trained and judged for 8 days although new bars arrived: T003 never; "
        "see retraining_schedule and the runs of retraining_job"
    )
    assert (found.description, shown(found)["failing"]) == (summary, {"as a whole": summary})
    judged = "insert into gate_verdict (ticker, trained_on, passed, rules) values (%s, %s, false, '[]')"
    conn.execute(judged, ("T003", FRIDAY))
    conn.commit()
    again = run_checks(FRIDAY)["models_are_fresh"]
    assert again.passed
    assert shown(again)["passing"] == ["as a whole"]


def test_one_check_can_be_executed_by_itself(run_checks: RunChecks) -> None:
    assert run_checks(FRIDAY, only="snapshots_are_fresh").keys() == {"snapshots_are_fresh"}


def test_what_is_no_session_ends_the_run_with_the_reason(run_checks: RunChecks) -> None:
    with pytest.raises(CalendarError, match="2013-01-21 is not a closed session"):
        run_checks(date(2013, 1, 21))


def tick(settings: Settings, calendar: Calendar, *moment: int) -> dg.RunRequest | dg.SkipReason:
    with dg.build_schedule_context(scheduled_execution_time=datetime(*moment, tzinfo=NEW_YORK)) as context:
        asked = freshness_schedule(settings, calendar)(context)
    assert isinstance(asked, (dg.RunRequest, dg.SkipReason))
    return asked


@pytest.mark.parametrize(
    ("day", "session"),
    [
        ((2026, 11, 24), "2026-11-23"),
        ((2026, 11, 27), "2026-11-25"),  # Thanksgiving lies between
        ((2026, 11, 30), "2026-11-27"),  # an early close
        ((2026, 3, 9), "2026-03-06"),  # the first session of summer time
    ],
)
def test_a_morning_asks_for_the_session_before_it(
    settings: Settings, calendar: Calendar, day: tuple[int, int, int], session: str
) -> None:
    asked = tick(settings, calendar, *day, 9, 35)
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_key == session
    assert asked.run_config == {"ops": {"freshness": {"config": {"session": session}}}}


def test_a_holiday_has_no_tick(settings: Settings, calendar: Calendar) -> None:
    asked = tick(settings, calendar, 2026, 11, 26, 9, 35)
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == "2026-11-26 is not a session of XNYS"


def test_every_session_ahead_opens_five_minutes_before_the_tick(settings: Settings, calendar: Calendar) -> None:
    schedule = freshness_schedule(settings, calendar)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("35 9 * * 1-5", "America/New_York")
    opens = [calendar.opens_at(day).astimezone(NEW_YORK) for day in calendar.between(date(2026, 1, 1), date.max)]
    assert {(moment + timedelta(minutes=5)).strftime("%H:%M") for moment in opens} == {"09:35"}
    assert {moment.isoweekday() for moment in opens} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("on", [True, False])
def test_the_schedule_runs_by_itself_where_automation_is_on(settings: Settings, calendar: Calendar, on: bool) -> None:
    asked = Settings(path=settings.path, tickers=settings.tickers, automation=AutomationConfig(enabled=on))
    is_running = freshness_schedule(asked, calendar).default_status == dg.DefaultScheduleStatus.RUNNING
    assert is_running == on


def test_a_session_on_which_every_ticker_abstained_is_a_warning_of_its_own(
    run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection
) -> None:
    for ticker in TICKERS:
        ledger_rows.abstention(ticker, FRIDAY, kind="late")
    conn.commit()
    found = run_checks(FRIDAY, only="snapshots_are_fresh")["snapshots_are_fresh"]
    assert (found.passed, found.severity.value) == (False, "WARN")
    assert shown(found)["failing"] == {
        "forecasts": "all 60 tickers abstained on 2013-01-18: `ldtm registry list` shows why"
    }
    assert shown(found)["passing"] == ["2013-01-18"]


def test_a_session_with_a_forecast_is_well(run_checks: RunChecks, ledger_rows: LedgerRows, conn: Connection) -> None:
    bring(ledger_rows, conn, TICKERS[0])
    for ticker in TICKERS[1:]:
        ledger_rows.abstention(ticker, FRIDAY, kind="late")
    conn.commit()
    found = run_checks(FRIDAY, only="snapshots_are_fresh")["snapshots_are_fresh"]
    assert found.passed
    assert shown(found)["passing"] == ["2013-01-18", "forecasts"]
