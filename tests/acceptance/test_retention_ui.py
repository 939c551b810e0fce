"""Dagster's real UI before and after retention: the same partitions, materializations, checks and runs."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ldtm_assets.jobs import RETENTION_ASSETS
from ldtm_lib.maintenance.retention import purge_expired
from ldtm_lib.project import Project
from tests.acceptance.dagster_ui import DagsterUi
from tests.acceptance.ui_installation import CHAIN, HOLED_DAY, TICKERS, installed_with_ui

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(400)]

ASSET_PAGE = """
query AssetPage($assetKey: AssetKeyInput!, $check: String!) {
  assetOrError(assetKey: $assetKey) {
    ... on Asset {
      assetMaterializations(limit: 100) {
        partition runId timestamp runOrError { __typename } metadataEntries { label }
      }
    }
  }
  assetNodeOrError(assetKey: $assetKey) {
    ... on AssetNode {
      latestMaterializationByPartition { partition timestamp }
      assetChecksOrError {
        ... on AssetChecks { checks { name executionForLatestMaterialization { status runId } } }
      }
    }
  }
  assetCheckExecutions(assetKey: $assetKey, checkName: $check, limit: 20) {
    id status runId evaluation { success timestamp metadataEntries { label } }
  }
}
"""
RUNS_PAGE = """
query { runsOrError(limit: 50) { ... on Runs { results { runId status startTime endTime tags { key value } } } } }
"""
RUN_PAGE = """
query RunPage($runId: ID!) {
  logsForRun(runId: $runId) { __typename ... on EventConnection { events { __typename } } }
  runOrError(runId: $runId) { __typename ... on Run { status stats { __typename } } }
}
"""


@pytest.fixture
def ui_installation() -> Iterator[tuple[Project, DagsterUi]]:
    with installed_with_ui() as installed:
        yield installed.project, installed.ui


def _age(project: Project, days: int) -> None:
    """Make every run that has ended older."""
    age = timedelta(days=days)
    with project.dagster_database.transaction() as conn:
        conn.execute(
            "update runs set start_time = start_time - %(seconds)s, end_time = end_time - %(seconds)s,"
            " create_timestamp = create_timestamp - %(age)s, update_timestamp = update_timestamp - %(age)s",
            {"age": age, "seconds": age.total_seconds()},
        )


def _shown(ui: DagsterUi) -> dict[str, Any]:
    seen: dict[str, Any] = {"runs": ui.ask(RUNS_PAGE)}
    for asset in CHAIN:
        seen[asset] = ui.ask(ASSET_PAGE, assetKey={"path": [asset]}, check="every_ticker_has_a_row")
        seen[f"partitions of {asset}"] = ui.partitions(asset, HOLED_DAY)
    seen["seals"] = ui.ask(ASSET_PAGE, assetKey={"path": ["seals"]}, check="none")
    return seen


def test_the_ui_shows_the_same_after_logs_went_and_works_after_runs_went(
    ui_installation: tuple[Project, DagsterUi],
) -> None:
    project, ui = ui_installation
    ui.wait_for(ui.launch(CHAIN, [f"{HOLED_DAY}|{ticker}" for ticker in TICKERS]))
    _age(project, 40)
    before = _shown(ui)
    assert before["partitions of prices"] == ({"AAPL", "GOOG", "MSFT"}, {"IBM"})
    assert before["snapshots"]["assetCheckExecutions"] != []
    assert len(before["seals"]["assetOrError"]["assetMaterializations"]) == 1

    assert purge_expired(project, RETENTION_ASSETS).purged[0].num > 20
    with project.dagster_database.transaction() as conn:
        conn.execute("update asset_keys set cached_status_data = null")
    assert _shown(ui) == before
    (run,) = before["runs"]["runsOrError"]["results"]
    page = ui.ask(RUN_PAGE, runId=run["runId"])
    assert page["runOrError"]["status"] == "FAILURE"
    kinds = {event["__typename"] for event in page["logsForRun"]["events"]}
    assert {"MaterializationEvent", "AssetCheckEvaluationEvent"} <= kinds
    assert "LogMessageEvent" not in kinds

    _age(project, 400)
    assert purge_expired(project, RETENTION_ASSETS).failures == ()
    with project.dagster_database.transaction() as conn:
        conn.execute("update asset_keys set cached_status_data = null")
    after = _shown(ui)
    assert after["seals"] == before["seals"]
    assert len(after["snapshots"]["assetOrError"]["assetMaterializations"]) == 1, "the newest of the asset"
    assert [entry["runId"] for entry in after["runs"]["runsOrError"]["results"]] == [run["runId"]]
    assert ui.ask(RUN_PAGE, runId="0cb5ee17-2c3b-4ddb-8d2f-2f9a4a1a3d10")["runOrError"]["__typename"] == (
        "RunNotFoundError"
    )
