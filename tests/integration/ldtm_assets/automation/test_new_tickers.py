"""New tickers are trained soon after they join the universe, and until then nothing is expected of them."""

import uuid
from collections.abc import Callable
from datetime import date, timedelta

import dagster as dg
import pytest

from ldtm_assets.automation.new_tickers import RETRY_AFTER, new_tickers_sensor
from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, process_tag
from ldtm_lib.daily_run.pending_partitions import pending_partitions
from ldtm_lib.database.connection import Connection
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from tests.integration.ldtm_assets.automation.sensor_ticks import MINUTE, SCHEDULED_AT, Tick, range_of
from tests.integration.ledger_rows import LedgerRows

LONG_AGO = date(2026, 9, 1)


@pytest.fixture
def in_service_since() -> None:
    """No ticker is in service."""


@pytest.fixture
def poll(tick: Callable[..., Tick]) -> Callable[..., Tick]:
    return lambda moment=SCHEDULED_AT: tick(new_tickers_sensor, moment)


def job_of(asked: Tick) -> str | None:
    assert isinstance(asked, dg.RunRequest), asked
    return asked.job_name


def test_history_is_loaded_first_and_then_the_ticker_is_trained(
    poll: Callable[..., Tick], project: Project, ledger_rows: LedgerRows, conn: Connection
) -> None:
    *others, last = project.settings.tickers
    for ticker in others:
        ledger_rows.verdict(ticker, passed=False, reasons=["49% < 52%"])
    conn.commit()
    asked = poll()
    assert (job_of(asked), range_of(asked)) == ("price_history_job", (last, last))
    ledger_rows.bar(last, LONG_AGO, 100.0)
    conn.commit()
    asked = poll(SCHEDULED_AT + MINUTE)
    assert (job_of(asked), range_of(asked)) == ("retraining_job", (last, last))
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags[CONCURRENCY_GROUP_TAG] == "retraining"
    ledger_rows.verdict(last, passed=False, reasons=["too few bars"])
    conn.commit()
    assert (
        poll(SCHEDULED_AT + 2 * MINUTE)
        == "every ticker is in service, or has a verdict and enters it with the next session"
    )


def test_work_that_failed_is_requested_again_after_an_hour_and_does_not_hold_up_the_others(
    poll: Callable[..., Tick], project: Project, ledger_rows: LedgerRows, conn: Connection
) -> None:
    first, *others = project.settings.tickers
    for ticker in others:
        ledger_rows.bar(ticker, LONG_AGO, 100.0)
    conn.commit()
    assert job_of(poll()) == "price_history_job"
    asked = poll(SCHEDULED_AT + MINUTE)
    assert (job_of(asked), range_of(asked)) == ("retraining_job", (others[0], others[-1]))
    said = poll(SCHEDULED_AT + 2 * MINUTE)
    assert isinstance(said, str)
    assert said.startswith(f"{len(project.settings.tickers)} not in service: {first}, ")
    assert said.endswith("was requested less than 1 h ago")
    assert job_of(poll(SCHEDULED_AT + RETRY_AFTER)) == "price_history_job"


def test_a_training_under_way_goes_first(poll: Callable[..., Tick], instance: dg.DagsterInstance) -> None:
    run_id = str(uuid.uuid4())
    instance.create_run_for_job(
        dg.GraphDefinition(name="retraining_job", node_defs=[]).to_job(),
        run_id=run_id,
        tags={CONCURRENCY_GROUP_TAG: "retraining", **process_tag(run_id)},
        status=dg.DagsterRunStatus.STARTED,
    )
    said = poll()
    assert isinstance(said, str)
    assert f"waiting for run {run_id} of retraining_job" in said


def test_nothing_is_pending_of_a_ticker_before_it_enters_service(
    conn: Connection, project: Project, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    moment = SCHEDULED_AT + timedelta(hours=1)
    assert pending_partitions(conn, project.settings, calendar, moment) == []
