"""An unattended machine: an installation with its clock, its TWS and the mailbox of its messages."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ldtm_cli.dagster_process import PID_FILE
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Database
from ldtm_lib.project import home_of
from ldtm_lib.settings import load_settings
from tests.acceptance.dagster_ui import DagsterUi
from tests.acceptance.installation import Installation, rows_of
from tests.acceptance.simulation.shifted_clock import IMPATIENCE, ShiftedClock, new_york
from tests.integration.alerts.receiver import Receiver
from tests.integration.prices.ib.peer import TwsPeer

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 600
UNFINISHED = """select count(*) from ldtm_dagster.runs
    where status in ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"""
SCHEDULES = """query { repositoriesOrError { ... on RepositoryConnection { nodes {
    schedules { name scheduleState { id } } } } } }"""
POLLS = """select count(*) from ldtm_dagster.job_ticks
    where tick_body like '%"alert_sensor"%' and status = 'SKIPPED'
      and (tick_body::jsonb ->> 'timestamp')::double precision > {}"""
"""How often the alert sensor has ticked, and was done with it, since a moment."""
BETWEEN_POLLS = timedelta(seconds=3)
STOP = "mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }"
START = "mutation($it: ScheduleSelector!) { startSchedule(scheduleSelector: $it) { __typename } }"
NOT_NOTIFIED = """select
    (select count(*) from alert
     where notified_at is null or (resolved_at is not null and resolution_notified_at is null))
    + (select count(*) from notification_delivery where delivered_at is null)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedInstallation(Installation):
    """An installation all of whose processes live by a shifted clock."""

    clock: ShiftedClock
    variables: dict[str, str]
    """What its owner has in the environment."""

    def environment(self) -> dict[str, str]:
        ours = Installation.environment(self)
        impatient = {"PYTHONPATH": f"{IMPATIENCE}{os.pathsep}{ours['PYTHONPATH']}"}
        return {**ours, **impatient, **self.clock.environment(), **self.variables}


@dataclass(slots=True, kw_only=True)
class Machine:
    """What happens to it, and what is to be seen on it."""

    installation: ShiftedInstallation
    clock: ShiftedClock
    tws: TwsPeer
    mailbox: Receiver
    port: int

    @property
    def tickers(self) -> tuple[str, ...]:
        return load_settings(self.installation.config).tickers

    @property
    def home(self) -> Path:
        return home_of(load_settings(self.installation.config))

    def up(self) -> None:
        """`ldtm up`, which starts whatever does not run."""
        self.installation.ldtm("up", "--port", str(self.port))

    def down(self) -> None:
        """`ldtm down`."""
        self.installation.ldtm("down")

    def kill(self) -> None:
        """kill -9 of the daemon, the webserver, the code server and the runs, all at once."""
        group = int((self.home / PID_FILE).read_text().split()[0])
        os.killpg(group, signal.SIGKILL)

    def stop_schedules(self, *names: str) -> None:
        """Stop some schedules in the UI."""
        ui = DagsterUi(self.port)
        (repository,) = ui.ask(SCHEDULES)["repositoriesOrError"]["nodes"]
        for schedule in repository["schedules"]:
            if schedule["name"] in names:
                answer = ui.ask(STOP, id=schedule["scheduleState"]["id"])
                assert answer["stopRunningSchedule"]["__typename"] == "ScheduleStateResult", answer

    def start_schedule(self, name: str) -> None:
        """Start one in the UI."""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": "ldtm", "scheduleName": name}
        answer = DagsterUi(self.port).ask(START, it=selector)
        assert answer["startSchedule"]["__typename"] == "ScheduleStateResult", answer

    def stop_postgresql(self) -> None:
        """Stop the server under the feet of all that use it."""
        assert embedded.stop(self.home)

    def database(self) -> Database:
        """Its database, which lives by its clock as well."""
        assert embedded.is_running(self.home), "a server that this process started would have the real clock"
        return Database(url=embedded.start(self.home), schema="ldtm")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return rows_of(self.database(), query)

    def number(self, query: str) -> int:
        """The one number that a query gives."""
        return self.rows(query)[0][0]

    def num_rows(self, session: str) -> int:
        """How many tickers have a row for a session."""
        return self.number(f"select count(*) from snapshot where run_date = '{session}'")

    def launched_daily_runs(self) -> list[str]:
        """The newest session of each run of the daily job, in the order in which they were made."""
        rows = self.rows("select value from ldtm_dagster.run_tags where key = 'ldtm/daily_run' order by id")
        return [session for (session,) in rows]

    def launches_of(self, session: str) -> list[datetime]:
        """When each daily run started whose newest session this is, by the shifted clock."""
        rows = self.rows(f"""select to_timestamp(run.start_time) from ldtm_dagster.runs run
            join ldtm_dagster.run_tags tag using (run_id)
            where tag.key = 'ldtm/daily_run' and tag.value = '{session}' and run.start_time is not null order by 1""")
        return [started_at for (started_at,) in rows]

    def wait_until(self, question: Callable[[], bool], what: str) -> None:
        """Wait in real time; says what the daemon said when it was in vain."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not question():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}, at {self.clock.now()}\n{self._says()}")
            time.sleep(POLL_SECONDS)

    def make_daily_run(self, session: str) -> float:
        """Go to a quarter past six and wait until every ticker has its row and no run is under way.

        Returns the real seconds from the tick to the last event of the daily run's runs.
        """
        self.clock.set(new_york(session, "18:15"))
        begin = time.monotonic()
        return self.wait_until_all_have_rows(session) - begin

    def wait_until_all_have_rows(self, session: str) -> float:
        """Wait until every ticker has its row and no run is under way; returns when the last run had ended."""
        self.wait_until(lambda: self.num_rows(session) == len(self.tickers), f"the rows of {session}")
        self.wait_until(lambda: self.number(UNFINISHED) == 0, f"the end of the runs of {session}")
        return time.monotonic()

    def wait_until_quiet(self) -> None:
        """Wait until no run is under way and every alert is notified."""
        self.wait_until(lambda: self.number(UNFINISHED) == 0, "the end of all runs")
        since = self.clock.now()

        def is_notified() -> bool:
            if self.number(UNFINISHED):
                return False
            self.clock.advance(BETWEEN_POLLS)
            polls = self.number(POLLS.format(since.timestamp() + 1))
            return polls > 0 and self.number(NOT_NOTIFIED) == 0 and self.number(UNFINISHED) == 0

        self.wait_until(is_notified, "notifications")

    def _says(self) -> str:
        log = (self.home / "logs" / "dagster.log").read_text(errors="replace").splitlines()
        return "\n".join([line for line in log if "skipped" not in line][-40:])
