"""What the checks of a daily run say of each session: a run of some tickers says nothing of the others."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import cast

import dagster as dg
import pytest

from ldtm_assets.asset_checks.daily_run import COMPLETE, FILLED, NO_OUTLIERS, QUARANTINE, daily_run_checks
from ldtm_assets.asset_checks.leakage import LOOK_AHEAD, POINT_IN_TIME, leakage_checks
from ldtm_assets.asset_checks.scope import FAILING, PASSING
from ldtm_assets.asset_checks.training import training_check
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import PartitionConfig, Settings
from ldtm_lib.training.report import TrainingOutcome, TrainingReport
from tests.integration.ledger_rows import LedgerRows, enter_service
from tests.integration.prices.made_bars import made

THURSDAY, FRIDAY = date(2013, 1, 17), date(2013, 1, 18)


@dataclass(frozen=True)
class Asked:
    """All that the checks know of a run."""

    selected_asset_check_keys: Collection[dg.AssetCheckKey]

    @classmethod
    def of(cls, *names: str) -> dg.AssetExecutionContext:
        return cast("dg.AssetExecutionContext", cls([dg.AssetCheckKey(dg.AssetKey("a"), name) for name in names]))


@pytest.fixture
def project(settings: Settings, database: Database) -> Project:
    two = settings.replace(
        tickers=("AAPL", "MSFT"), partitions=PartitionConfig(first_session=date(2013, 1, 2), last_session=FRIDAY)
    )
    return Project(settings=two, home=settings.path.parent, database=database)


def said(result: dg.AssetCheckResult) -> tuple[bool, object, object]:
    failing, well = result.metadata[FAILING], result.metadata[PASSING]
    assert isinstance(failing, dg.JsonMetadataValue)
    assert isinstance(well, dg.JsonMetadataValue)
    return bool(result.passed), failing.data, well.data


def evaluate(
    project: Project, name: str, *partitions: DailyPartition, waiting: Collection[str] = (), simulation_id: int = 0
) -> tuple[bool, object, object]:
    [result] = daily_run_checks(Asked.of(name), project, partitions, [], waiting, simulation_id)
    return said(result)


def both(session: date) -> list[DailyPartition]:
    return [DailyPartition(session, "AAPL"), DailyPartition(session, "MSFT")]


def test_a_run_of_one_ticker_passes_and_its_session_is_well_when_all_its_tickers_are(
    project: Project, ledger_rows: LedgerRows, conn: Connection
) -> None:
    for ticker in ("AAPL", "MSFT"):
        ledger_rows.forecast(ticker, THURSDAY, kind="late")
    ledger_rows.forecast("AAPL", FRIDAY, kind="late")
    ledger_rows.forecast("MSFT", FRIDAY, kind="simulated")
    conn.commit()
    assert evaluate(project, COMPLETE, DailyPartition(FRIDAY, "AAPL")) == (True, {}, [])
    assert evaluate(project, COMPLETE, *both(THURSDAY), *both(FRIDAY)) == (
        False,
        {"2013-01-18": "1 row missing: MSFT"},
        ["2013-01-17"],
    )
    ledger_rows.forecast("MSFT", FRIDAY, kind="late")
    conn.commit()
    assert evaluate(project, COMPLETE, DailyPartition(FRIDAY, "MSFT")) == (True, {}, ["2013-01-18"])


def test_a_ticker_that_is_not_in_service_keeps_no_session_from_being_well(
    project: Project, ledger_rows: LedgerRows, conn: Connection
) -> None:
    ledger_rows.forecast("AAPL", THURSDAY, kind="late")
    ledger_rows.forecast("MSFT", FRIDAY, kind="late")
    conn.commit()
    assert evaluate(project, COMPLETE, DailyPartition(THURSDAY, "AAPL")) == (True, {}, ["2013-01-17"])
    assert evaluate(project, COMPLETE, *both(THURSDAY)) == (True, {}, ["2013-01-17"])


def test_a_simulated_run_is_checked_by_the_rows_of_its_own_simulation_and_completes_no_session(
    project: Project, ledger_rows: LedgerRows, conn: Connection
) -> None:
    enter_service(conn, "AAPL", THURSDAY)
    ledger_rows.forecast("AAPL", THURSDAY, kind="simulated")
    conn.commit()
    said_of_msft = {"2013-01-17": "1 row missing: MSFT"}
    assert evaluate(project, COMPLETE, *both(THURSDAY), simulation_id=1) == (False, said_of_msft, [])
    ledger_rows.forecast("MSFT", THURSDAY, kind="simulated")
    conn.commit()
    assert evaluate(project, COMPLETE, *both(THURSDAY), simulation_id=1) == (True, {}, [])
    other = {"2013-01-17": "2 rows missing: AAPL, MSFT"}
    assert evaluate(project, COMPLETE, *both(THURSDAY), simulation_id=2) == (False, other, [])


def test_rows_that_wait_to_be_tried_again_are_missing_and_no_alert(project: Project, conn: Connection) -> None:
    for ticker in ("AAPL", "MSFT"):
        enter_service(conn, ticker, FRIDAY)
    conn.commit()
    waiting = [partition.key for partition in both(FRIDAY)]
    assert evaluate(project, COMPLETE, *both(FRIDAY), waiting=waiting) == (False, {}, [])
    assert evaluate(project, COMPLETE, *both(FRIDAY), waiting=waiting[:1]) == (
        False,
        {"2013-01-18": "1 row missing: MSFT"},
        [],
    )


def test_a_bar_in_quarantine_keeps_its_session_from_being_well_whichever_ticker_is_checked(
    project: Project, conn: Connection
) -> None:
    conn.execute(
        "insert into quarantined_bar (ticker, session, reason, bar, source) "
        "values ('MSFT', %s, 'high < low', '{}', 'x')",
        (FRIDAY,),
    )
    conn.commit()
    assert evaluate(project, QUARANTINE, DailyPartition(FRIDAY, "AAPL")) == (True, {}, [])
    assert evaluate(project, QUARANTINE, DailyPartition(FRIDAY, "MSFT"), DailyPartition(THURSDAY, "MSFT")) == (
        False,
        {"2013-01-18": "1 bar refused: MSFT: high < low"},
        ["2013-01-17"],
    )


def test_actuals_are_well_when_the_newest_session_was_checked(
    project: Project, ledger_rows: LedgerRows, conn: Connection
) -> None:
    assert evaluate(project, FILLED, *both(THURSDAY)) == (True, {}, [])
    assert evaluate(project, FILLED, *both(FRIDAY)) == (True, {}, ["as a whole"])
    ledger_rows.forecast("AAPL", THURSDAY)
    conn.commit()
    assert evaluate(project, FILLED, *both(FRIDAY)) == (
        False,
        {"as a whole": "1 actual without a bar: AAPL 2013-01-17, next day: no bar of 2013-01-18"},
        [],
    )


@pytest.mark.parametrize("name", [LOOK_AHEAD, POINT_IN_TIME])
def test_a_sample_of_some_tickers_does_not_say_that_a_session_is_well(
    project: Project, calendar: Calendar, name: str
) -> None:
    for partitions, well in ((both(FRIDAY)[:1], []), (both(FRIDAY), ["2013-01-18"])):
        [result] = leakage_checks(Asked.of(name), project, calendar, partitions)
        assert said(result) == (True, {}, well)


def test_a_training_reports_the_parts_that_it_made() -> None:
    outcomes = (
        TrainingOutcome(ticker="AAPL", part="checkpoint", status="failed", reason="no bars"),
        TrainingOutcome(ticker="MSFT", part="checkpoint", status="too few bars", reason="9 rows"),
    )
    report = TrainingReport(trained_on=FRIDAY, outcomes=outcomes)
    [result] = training_check(Asked.of("no_training_failed"), report)
    assert said(result) == (False, {"AAPL checkpoint": "AAPL checkpoint: no bars"}, ["MSFT checkpoint"])


def test_a_stored_bar_that_proved_an_outlier_is_a_warning_with_its_remedy(
    project: Project, conn: Connection, calendar: Calendar
) -> None:
    def evaluated() -> dg.AssetCheckResult:
        [result] = daily_run_checks(Asked.of(NO_OUTLIERS), project, both(FRIDAY), [], ())
        assert result.severity is dg.AssetCheckSeverity.WARN
        return result

    closes = [100.0, 101, 400, 102]
    for num_bars in (3, 4):
        delivery = Delivery(bars=made(calendar, closes[:num_bars], "AAPL", date(2013, 1, 14)))
        assert evaluated().passed
        ingest(conn, delivery, source="ib", calendar=calendar)
        conn.commit()
    result = evaluated()
    assert not result.passed
    outliers = result.metadata["outliers"]
    assert isinstance(outliers, dg.MarkdownMetadataValue)
    assert outliers.value == (
        "- AAPL: a stored bar is an outlier: close 400 of 2013-01-16 is 3.96 times the close 101 of 2013-01-15 and "
        "3.92 times the close 102 of 2013-01-17: it leaves and returns within 3 sessions; load a corrected bar of "
        "2013-01-16"
    )
