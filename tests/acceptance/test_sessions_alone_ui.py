"""Sessions alone as partitions in Dagster's real UI: backfills, and a change of the setting there and back."""

from collections.abc import Iterator

import pytest

from ldtm_cli.dagster_process import stop
from ldtm_cli.services import prepare, start_dagster
from tests.acceptance.dagster_ui import DAILY_JOB, LAUNCH_BACKFILL, SIMULATED
from tests.acceptance.ui_installation import CHAIN, HOLED_DAY, TICKERS, UiInstallation, installed_with_ui

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

RUNS = "query { runsOrError(limit: 100) { ... on Runs { results { status tags { key value } } } } }"


@pytest.fixture(scope="module")
def installation() -> Iterator[UiInstallation]:
    with installed_with_ui() as installed:
        yield installed


def _restart_by(installation: UiInstallation, by: str) -> None:
    config = installation.folder / "universe.toml"
    stop(installation.project.home)
    lines = [line for line in config.read_text().splitlines() if not line.startswith("by = ")]
    config.write_text("\n".join([*lines, f'by = "{by}"']) + "\n")
    project, _ = prepare(config)
    start_dagster(project, installation.ui.port)


def _backfill(installation: UiInstallation, days: list[str], **more: object) -> str:
    params = {
        "tags": [],
        "assetSelection": [{"path": [name]} for name in CHAIN],
        "partitionNames": days,
        "fromFailure": False,
        **more,
    }
    answer = installation.ui.ask(LAUNCH_BACKFILL, backfillParams=params)["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return answer["backfillId"]


def test_backfills_by_session_and_a_change_of_the_setting(installation: UiInstallation) -> None:
    ui = installation.ui
    before = ui.wait_for(ui.launch(CHAIN, [f"2013-02-26|{ticker}" for ticker in TICKERS]))
    assert before.status == "COMPLETED_SUCCESS"

    _restart_by(installation, "date")
    assert ui.sessions("snapshots") == {}  # of other partitions; the tables have the session
    of_job = _backfill(installation, ["2013-02-01", "2013-02-04", "2013-02-07"], runConfigData=SIMULATED, **DAILY_JOB)
    of_assets = _backfill(installation, ["2013-02-21"])
    holed = _backfill(installation, [HOLED_DAY])
    for launched in (of_job, of_assets):
        assert ui.wait_for(launched, 300).status == "COMPLETED_SUCCESS"
    assert ui.wait_for(holed, 300).runs == ["FAILURE"]  # Dagster counts the backfill by its partitions, which are there
    done = {
        "2013-02-01 2013-02-04": "MATERIALIZED",
        "2013-02-07 2013-02-07": "MATERIALIZED",
        "2013-02-21 2013-02-21": "MATERIALIZED",
        f"{HOLED_DAY} {HOLED_DAY}": "MATERIALIZED",  # of three tickers; the run failed by the name of the fourth
    }
    for asset in CHAIN:
        assert ui.sessions(asset) == done
    rows = installation.rows(
        "select kind, count(*)::int, count(distinct run_date)::int from snapshot group by 1 order by 1"
    )
    assert rows == [("late", 12, 3), ("simulated", 12, 3)]
    for run in ui.ask(RUNS)["runsOrError"]["results"]:
        assert "dagster/asset_partition_range_start" in {tag["key"] for tag in run["tags"]}

    _restart_by(installation, "date_and_ticker")
    assert ui.partitions("snapshots", "2013-02-26") == (set(TICKERS), set())
