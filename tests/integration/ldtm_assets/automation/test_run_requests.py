"""When an item becomes a run, and when it had better wait: for a daily run on its way, but not near the open."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test

from ldtm_assets.automation.catch_up import catch_up_sensor
from ldtm_assets.partitions import partition_range
from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from tests.integration.ldtm_assets.automation.sensor_ticks import (
    FRIDAY,
    MINUTE,
    SCHEDULED_AT,
    Tick,
    identity_of_a_dead_process,
    range_of,
)
from tests.integration.ledger_rows import LedgerRows


@pytest.mark.parametrize(
    "status",
    [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
)
@pytest.mark.parametrize("from_the_graph", [False, True])
def test_nothing_is_launched_while_a_daily_run_is_on_its_way(
    tick: Callable[..., Tick], instance: dg.DagsterInstance, status: dg.DagsterRunStatus, from_the_graph: bool
) -> None:
    create_run_for_test(instance, job_name="retraining_job", status=status)
    if from_the_graph:
        chosen = frozenset({dg.AssetKey("snapshots")})
        other, same = partition_range("2026-11-02|AAPL", "2026-11-19|MSFT"), {"dagster/partition": "2026-11-20|IBM"}
        create_run_for_test(instance, job_name="__ASSET_JOB", status=status, asset_selection=chosen, tags=other)
        run = create_run_for_test(instance, job_name="__ASSET_JOB", status=status, asset_selection=chosen, tags=same)
    else:
        tags = partition_range("2026-11-20|AAPL", "2026-11-20|MSFT")
        run = create_run_for_test(instance, job_name="daily_job", status=status, tags=tags)
    said = tick(catch_up_sensor, SCHEDULED_AT + 60 * MINUTE)
    assert said == f"run {run.run_id} of daily_job is {status.value.lower()}"
    instance.report_run_canceled(run)
    assert range_of(tick(catch_up_sensor, SCHEDULED_AT + 60 * MINUTE))[0] == "2026-11-20|AAPL"


@pytest.mark.parametrize(
    ("chosen", "asked_for"),
    [
        ({"prices"}, ("2026-11-20|AAPL", "2026-11-20|MSFT")),
        ({"prices", "features", "fillbacks"}, ("2026-11-02|AAPL", "2026-11-20|MSFT")),
        ({"snapshots"}, ("2026-11-02|AAPL", "2026-11-19|MSFT")),
        ({"snapshots"}, ("2026-11-20|IBM", "2026-11-20|MSFT")),
    ],
    ids=["bars alone", "no forecasts", "other sessions", "other tickers"],
)
def test_a_manual_run_without_forecasts_of_the_same_partitions_keeps_no_daily_run_waiting(
    tick: Callable[..., Tick],
    conn: Connection,
    calendar: Calendar,
    instance: dg.DagsterInstance,
    chosen: set[str],
    asked_for: tuple[str, str],
) -> None:
    for ticker in ("GOOG", "IBM", "MSFT"):
        LedgerRows(conn, calendar).abstention(ticker, FRIDAY, kind="late")
    conn.commit()
    create_run_for_test(
        instance,
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset(dg.AssetKey(name) for name in chosen),
        tags=partition_range(*asked_for),
    )
    assert range_of(tick(catch_up_sensor, SCHEDULED_AT + 60 * MINUTE)) == ("2026-11-20|AAPL", "2026-11-20|FB")


def test_nobody_waits_for_what_a_person_runs_when_the_open_is_near(
    tick: Callable[..., Tick], instance: dg.DagsterInstance
) -> None:
    tags = partition_range("2026-10-01|AAPL", "2026-11-20|MSFT")
    backfill = create_run_for_test(instance, job_name="daily_job", status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert backfill.run_id in str(tick(catch_up_sensor, SCHEDULED_AT + 60 * MINUTE))
    on_monday = datetime(2026, 11, 23, 1, 31, tzinfo=ZoneInfo("America/New_York"))
    assert backfill.run_id in str(tick(catch_up_sensor, on_monday - 2 * MINUTE)), "eight hours before the open"
    assert range_of(tick(catch_up_sensor, on_monday)) == ("2026-11-20|AAPL", "2026-11-20|MSFT")


def test_a_run_whose_process_is_gone_is_reaped_and_blocks_no_other(
    tick: Callable[..., Tick], instance: dg.DagsterInstance
) -> None:
    dead = create_run_for_test(
        instance, job_name="daily_job", status=dg.DagsterRunStatus.STARTED, tags={"ldtm/daily_run": "2026-11-20"}
    )
    instance.add_run_tags(dead.run_id, identity_of_a_dead_process(dead.run_id))
    launched_at = datetime.now(UTC) + 60 * MINUTE
    assert isinstance(tick(catch_up_sensor, launched_at), dg.RunRequest)
    run = instance.get_run_by_id(dead.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_a_daily_run_in_the_queue_behind_a_training_makes_room_for_one_that_goes_at_once_when_the_open_is_near(
    tick: Callable[..., Tick], instance: dg.DagsterInstance
) -> None:
    nowhere = GrpcServerCodeLocationOrigin(host="localhost", port=1)
    queued = create_run_for_test(
        instance,
        job_name="daily_job",
        tags={"ldtm/daily_run": "2026-11-19", "ldtm/concurrency_group": "daily_run"},
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=RemoteRepositoryOrigin(nowhere, "nothing").get_job_origin("daily_job"),
    )
    assert "is queued" in str(tick(catch_up_sensor, SCHEDULED_AT + 60 * MINUTE))
    asked = tick(catch_up_sensor, datetime(2026, 11, 23, 8, 0, tzinfo=ZoneInfo("America/New_York")))
    assert isinstance(asked, dg.RunRequest), asked
    assert "ldtm/concurrency_group" not in asked.tags
    run = instance.get_run_by_id(queued.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.CANCELED


def test_runs_that_die_before_they_begin_come_ever_more_slowly(
    tick: Callable[..., Tick], instance: dg.DagsterInstance
) -> None:
    waits: list[timedelta] = []
    for _ in range(6):
        died = create_run_for_test(
            instance, job_name="daily_job", status=dg.DagsterRunStatus.FAILURE, tags={"ldtm/daily_run": "2026-11-20"}
        )
        record = instance.get_run_record_by_id(died.run_id)
        assert record is not None
        again_at = next(
            minutes
            for minutes in range(60)
            if isinstance(tick(catch_up_sensor, record.create_timestamp + minutes * MINUTE), dg.RunRequest)
        )
        waits.append(again_at * MINUTE)
    assert [wait / MINUTE for wait in waits] == [2, 4, 8, 16, 30, 30]
