"""Backfills as Dagster's UI launches them from the page of a job and of an asset: every partition asked for is done."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.dagster_ui import DAILY_JOB, LAUNCH_BACKFILL, SIMULATED
from tests.acceptance.ui_installation import CHAIN, TICKERS, UiInstallation, installed_with_ui

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

ASSETS = [{"path": [name]} for name in CHAIN]
REQUESTS: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...], str | None]] = {
    "job, a range of dates, all tickers": (DAILY_JOB, ("2013-02-01", "2013-02-04", "2013-02-05"), TICKERS, SIMULATED),
    "job, scattered dates, some tickers": (DAILY_JOB, ("2013-02-07", "2013-02-11"), ("AAPL", "MSFT"), None),
    "asset, scattered dates, all tickers": ({}, ("2013-02-19", "2013-02-21"), TICKERS, SIMULATED),
    "asset, a range of dates, some tickers": ({}, ("2013-02-25", "2013-02-26"), ("GOOG", "IBM"), None),
}
RUN_TAGS = """
query { runsOrError(limit: 100) { ... on Runs { results { tags { key value } } } } }
"""


@pytest.fixture(scope="module")
def installation() -> Iterator[UiInstallation]:
    with installed_with_ui() as installed:
        yield installed


@pytest.fixture(scope="module")
def launched(installation: UiInstallation) -> dict[str, str]:
    """All requests at once, each with the variables that the button of the dialog sends."""
    ids: dict[str, str] = {}
    for name, (selector, days, tickers, config) in REQUESTS.items():
        params = {
            "tags": [],
            "assetSelection": ASSETS,
            "partitionNames": [f"{day}|{ticker}" for day in days for ticker in tickers],
            "fromFailure": False,
            **({"runConfigData": config} if config else {}),
            **selector,
        }
        answer = installation.ui.ask(LAUNCH_BACKFILL, backfillParams=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        ids[name] = answer["backfillId"]
    return ids


@pytest.mark.parametrize("name", REQUESTS)
def test_every_partition_asked_for_has_its_row_and_no_other_one(
    installation: UiInstallation, launched: dict[str, str], name: str
) -> None:
    _, days, tickers, config = REQUESTS[name]
    ended = installation.ui.wait_for(launched[name], 800)
    assert ended.status == "COMPLETED_SUCCESS", ended.runs
    listed = ", ".join(f"'{day}'" for day in days)
    rows = installation.rows(
        f"select run_date::text, ticker, kind from snapshot where run_date in ({listed}) order by 1, 2"
    )
    kind = "simulated" if config else "late"
    assert rows == [(day, ticker, kind) for day in days for ticker in tickers]
    for asset in CHAIN:
        for day in days:
            assert installation.ui.partitions(asset, day) == (set(tickers), set())


def test_no_run_of_a_backfill_names_one_session_and_one_ticker_beside_its_range(
    installation: UiInstallation, launched: dict[str, str]
) -> None:
    runs = [{tag["key"] for tag in run["tags"]} for run in installation.ui.ask(RUN_TAGS)["runsOrError"]["results"]]
    assert runs
    for tags in runs:
        assert "dagster/asset_partition_range_start" in tags
        assert not {"dagster/partition/date", "dagster/partition/ticker"} & tags
