"""`ldtm run`: a daily run from the command line is the run that the schedule launches."""

from datetime import UTC, date, datetime
from pathlib import Path
from subprocess import CompletedProcess

import dagster as dg
import pytest

from ldtm_assets.run_tags import process_tag
from ldtm_cli.commands.run import RowCount, print_rows
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.sessions import Calendar
from tests.integration.dagster_storage import copied_template as copied_template
from tests.integration.dagster_storage import dagster_instance
from tests.integration.ldtm_cli.kept_outputs import compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm
from tests.integration.ledger_rows import enter_service

CONFIG = """
tickers = ["AAPL", "GOOG", "MSFT"]
[source]
kind = "sample"
[partitions]
first_session = 2013-01-02
last_session = {last}
"""


class Installation:
    """A folder with the sample's bars as its source."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.configure(date(2013, 3, 1))

    def configure(self, last: date) -> None:
        (self.folder / "universe.toml").write_text(CONFIG.format(last=last))

    def ldtm(self, *words: str) -> CompletedProcess[str]:
        return run_ldtm(self.folder, self.database.url, *words, COLUMNS="200")


@pytest.fixture
def installation(tmp_path: Path, database: Database, conn: Connection) -> Installation:
    """An installation whose tickers are in service."""
    for ticker in ("AAPL", "GOOG", "MSFT"):
        enter_service(conn, ticker, date(2013, 1, 2))
    conn.commit()
    return Installation(tmp_path, database)


def _runs(installation: Installation) -> list[dg.DagsterRun]:
    with dagster_instance(installation.database, installation.folder) as instance:
        return [*instance.get_runs()]


def test_the_rows_of_a_run_are_printed() -> None:
    rows = [
        RowCount(kind="late", num_rows=1, num_abstained=0),
        RowCount(kind="live", num_rows=102, num_abstained=4),
    ]
    day = date(2026, 11, 27)
    compare_at_all_widths("run", lambda console: print_rows(console, day, rows, num_new=12, num_filled=1_230))
    compare_at_all_widths("run-nothing", lambda console: print_rows(console, day, [], num_new=0, num_filled=0))


def test_rows_that_would_be_late_are_written_with_late_only(installation: Installation, conn: Connection) -> None:
    refused = installation.ldtm("run", "2013-02-01")
    assert refused.returncode == 2
    assert "2013-02-04 has opened: 3 missing rows of 2013-02-01 would be recorded as late" in refused.stderr
    assert "Write them with --late" in refused.stderr
    assert conn.execute("select count(*) from snapshot").fetchone() == (0,)
    conn.commit()
    done = installation.ldtm("run", "2013-02-01", "--late", "--ticker", "MSFT", "-t", "AAPL")
    assert done.returncode == 0, done.stderr
    assert "2 missing rows of 2013-02-01 would be recorded as late" in done.stdout
    assert "rows of 2013-02-01   2 written now; on record: 2 late, of which 2 abstained" in done.stdout
    assert conn.execute("select ticker, kind from snapshot order by 1").fetchall() == [
        ("AAPL", "late"),
        ("MSFT", "late"),
    ]
    (run,) = _runs(installation)
    assert run.tags["ldtm/concurrency_group"] == "daily_run"
    assert run.tags["dagster/asset_partition_range_start"] == "2013-02-01|AAPL"
    assert run.status == dg.DagsterRunStatus.SUCCESS


def test_a_session_without_a_partition_or_that_has_not_closed_is_refused(
    installation: Installation, calendar: Calendar
) -> None:
    outside = installation.ldtm("run", "2012-12-31")
    assert outside.returncode == 2
    assert (
        "session 2012-12-31 has no partition: universe.toml has partitions from 2013-01-02 to 2013-03-01"
        in outside.stderr
    )
    newest = calendar.last_closed(datetime.now(UTC))
    future = calendar.offset(newest, 2)
    installation.configure(future)
    refused = installation.ldtm("run", str(future))
    assert refused.returncode == 2
    assert f"session {future} has not closed; the newest closed one is" in refused.stderr
    assert "2026-11-28 is not a session" in installation.ldtm("run", "2026-11-28").stderr


def test_a_failed_ticker_is_status_1_with_its_reason(installation: Installation) -> None:
    (installation.folder / "universe.toml").write_text(
        CONFIG.format(last="2013-03-01").replace('kind = "sample"', 'kind = "files"\nfolder = "none"\nbasis = "raw"')
    )
    failed = installation.ldtm("run", "2013-02-01", "--late")
    assert failed.returncode == 1
    assert "of daily_job failed" in failed.stderr
    assert "3 partitions failed, the others are recorded" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_run_under_way_is_not_joined_by_another_one(installation: Installation) -> None:
    run_id = "11111111-2222-4333-8444-555555555555"
    with dagster_instance(installation.database, installation.folder) as instance:
        job = dg.GraphDefinition(name="daily_job").to_job()
        run = instance.create_run_for_job(
            job, run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags=process_tag(run_id)
        )
        assert run.run_id == run_id
    for words in (("run", "2013-02-01", "--late"), ("train", "AAPL")):
        refused = installation.ldtm(*words)
        assert refused.returncode == 1
        reason = "run 11111111 of daily_job is started, and only one daily run or training may run at a time"
        assert reason in refused.stderr
    assert len(_runs(installation)) == 1


def test_two_commands_exclude_each_other(installation: Installation, database: Database) -> None:
    with database.connect() as conn:
        conn.execute("select pg_advisory_lock(hashtextextended('ldtm command of ' || current_schema(), 0))")
        refused = installation.ldtm("run", "2013-02-01", "--late")
    assert refused.returncode == 1
    assert "another `ldtm run` or `ldtm train` of universe.toml is under way" in refused.stderr
