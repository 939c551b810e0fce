"""What an owner does in the Dagster UI, done through a real webserver and daemon: choose partitions, wait, look."""

from collections.abc import Iterator

import pytest

from tests.acceptance.dagster_ui import WORKSPACE
from tests.acceptance.ui_installation import (
    CHAIN,
    HOLED_DAY,
    ONE_DAY,
    OTHER_DAY,
    TICKERS,
    UiInstallation,
    installed_with_ui,
    write_bars,
)

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def installation() -> Iterator[UiInstallation]:
    with installed_with_ui() as installed:
        yield installed


def test_the_code_location_loads_without_an_error(installation: UiInstallation) -> None:
    entries = installation.ui.ask(WORKSPACE)["workspaceOrError"]["locationEntries"]
    assert [(e["name"], e["loadStatus"], e["locationOrLoadError"]["__typename"]) for e in entries] == [
        ("ldtm", "LOADED", "RepositoryLocation")
    ]


@pytest.fixture(scope="module")
def asked(installation: UiInstallation) -> dict[str, str]:
    """Three requests at once, as three people would make them: part of one date, all of two others."""
    requested = {ONE_DAY: ("AAPL", "MSFT"), OTHER_DAY: TICKERS, HOLED_DAY: TICKERS}
    return {
        day: installation.ui.launch(CHAIN, [f"{day}|{ticker}" for ticker in tickers])
        for day, tickers in requested.items()
    }


def test_two_tickers_of_one_date_and_no_others(installation: UiInstallation, asked: dict[str, str]) -> None:
    assert installation.ui.wait_for(asked[ONE_DAY]).status == "COMPLETED_SUCCESS"
    for asset in CHAIN:
        assert installation.ui.partitions(asset, ONE_DAY) == ({"AAPL", "MSFT"}, set())
    rows = installation.rows(f"select ticker from snapshot where run_date = '{ONE_DAY}' order by ticker")
    assert rows == [("AAPL",), ("MSFT",)]


def test_all_tickers_of_a_date_are_one_run(installation: UiInstallation, asked: dict[str, str]) -> None:
    assert installation.ui.wait_for(asked[OTHER_DAY]).runs == ["SUCCESS"]
    for asset in CHAIN:
        assert installation.ui.partitions(asset, OTHER_DAY) == (set(TICKERS), set())


def test_a_ticker_without_a_bar_fails_alone_and_is_retried_alone(
    installation: UiInstallation, asked: dict[str, str]
) -> None:
    assert installation.ui.wait_for(asked[HOLED_DAY]).runs == ["FAILURE"]
    assert installation.ui.partitions("prices", HOLED_DAY) == (set(TICKERS) - {"IBM"}, {"IBM"})
    assert installation.ui.partitions("snapshots", HOLED_DAY)[0] == set(TICKERS), "an abstention is on record, too"
    of_ibm = f"from current_input_window where ticker = 'IBM' and session = '{HOLED_DAY}'"
    assert installation.rows(f"select not_ready {of_ibm}") == [(f"has no bar for {HOLED_DAY}",)]

    write_bars(installation.folder / "bars", "IBM")
    retried = installation.ui.wait_for(installation.ui.launch(CHAIN, [f"{HOLED_DAY}|IBM"]))
    assert retried.runs == ["SUCCESS"]
    for asset in CHAIN:
        assert installation.ui.partitions(asset, HOLED_DAY) == (set(TICKERS), set())
