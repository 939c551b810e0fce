"""What happens in the weeks around Thanksgiving 2025, and on the weekend on which New York's clocks go back."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

from ldtm_lib.sessions import exchange_calendar
from tests.acceptance.simulation import universe
from tests.acceptance.simulation.machine import Machine, ShiftedInstallation
from tests.acceptance.simulation.mailbox import about
from tests.acceptance.simulation.shifted_clock import ShiftedClock, new_york
from tests.databases import server_home
from tests.integration.alerts.receiver import listening
from tests.integration.audit.small_networks import SmallNetworks
from tests.integration.prices.ib.peer import TwsPeer

HISTORIES = """
import sys
from pathlib import Path
from ldtm_cli.runs import JobRun, Launcher
from ldtm_cli.services import prepare
project, _ = prepare(Path(sys.argv[1]))
first, *_, last = project.settings.tickers
with project.database.transaction() as conn:
    for ticker in project.settings.tickers:  # in service before their first training, so that every session is due
        conn.execute("insert into service_entry (ticker, first_session) values (%s, '2025-10-30')", (ticker,))
with Launcher(project) as launcher:
    launcher.run(JobRun(job="price_history_job", step="price_history", first_partition=first, last_partition=last))
"""
TRAININGS = """select count(*) from ldtm_dagster.runs
    where pipeline_name = 'retraining_job' and status in ('SUCCESS', 'FAILURE')"""
TRIED = "select count(*) from daily_attempt where session = '{}'"
FAILED_TRIES = """select coalesce(min(num_attempts), 0) from daily_attempt
    where session = '{}' and reason is not null"""
CHECKED_AT = """select count(*) from ldtm_dagster.runs run
    join ldtm_dagster.run_tags tag using (run_id)
    where run.pipeline_name = 'freshness_job' and tag.key = 'dagster/run_key' and tag.value = '{}'
      and run.status in ('SUCCESS', 'FAILURE')"""
PAUSED = ("retraining_schedule", "leaderboard_schedule", "retention_schedule")
"""Stopped in the UI: a clock that jumps brings a weekend's ticks at once, before the daily run's."""
IDLE_SECONDS = 12.0
FIRST = "2025-10-30"
"""The machine starts in the evening, after a quarter past six."""
BEFORE_THE_CHANGE, AFTER_THE_CHANGE = "2025-10-31", "2025-11-03"
"""A Friday of New York's summer time and the Monday after it."""
BACK = "2025-11-17"
"""The machine was off since AFTER_THE_CHANGE, and came back before the open on this day."""
OUTAGE, RESTART, KILL = "2025-11-18", "2025-11-19", "2025-11-20"
WEEK_END, TRAINING = "2025-11-21", "2025-11-22"
SPLIT, LATE = universe.SPLIT_SESSION, "2025-11-25"
BEFORE_THANKSGIVING, THANKSGIVING, EARLY_CLOSE, LAST = "2025-11-26", "2025-11-27", "2025-11-28", "2025-12-01"
TRIES_OF_THE_OUTAGE = ("18:15", "18:18", "18:23", "18:32", "18:49")
"""When the outage is looked at again, each just after another try was due: 2, 4, 8 and 16 minutes apart."""


@dataclass(slots=True, kw_only=True)
class Simulation:
    """The machine after it, and what was noted on the way."""

    machine: Machine
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """By session, the real time from the tick to the last event."""
    daily_runs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """By event, the newest session of each run of the daily job until then."""

    def daily_run(self, session: str) -> None:
        """The freshness check in the morning, and the daily run."""
        if self.machine.clock.now() < (morning := new_york(session, "09:35")):
            self.machine.clock.set(morning)
            self.machine.wait_until(
                lambda: self.machine.number(CHECKED_AT.format(last_session_before(session))) > 0,
                "the freshness check",
            )
            self.machine.wait_until_quiet()
        self.seconds[session] = self.machine.make_daily_run(session)
        self.note(session)

    def note(self, name: str) -> None:
        """Remember the runs of the daily job until now."""
        self.daily_runs[name] = self.machine.launched_daily_runs()
        print(f"{name:20} {self.machine.clock.now():%Y-%m-%d %H:%M} {self.seconds.get(name, 0):5.1f} s", flush=True)


def live_through(machine: Machine) -> Simulation:
    """From the last Friday of October to the Monday after Thanksgiving."""
    simulation = Simulation(machine=machine)
    machine.up()
    machine.stop_schedules(*PAUSED)
    machine.wait_until_all_have_rows(FIRST)
    simulation.note(FIRST)
    simulation.daily_run(BEFORE_THE_CHANGE)
    simulation.daily_run(AFTER_THE_CHANGE)
    machine.down()
    machine.clock.set(new_york(BACK, "06:00"))
    machine.up()
    machine.wait_until_all_have_rows(last_session_before(BACK))
    simulation.note("caught up")
    simulation.daily_run(BACK)
    _an_outage_of_an_hour(simulation)
    machine.clock.set(new_york(RESTART, "12:00"))
    machine.stop_postgresql()
    machine.up()
    simulation.daily_run(RESTART)
    _killed_in_the_middle(simulation)
    simulation.daily_run(WEEK_END)
    machine.clock.set(new_york(TRAINING, "08:59"))
    machine.start_schedule("retraining_schedule")
    machine.clock.set(new_york(TRAINING, "09:00"))
    machine.wait_until(lambda: machine.number(TRAININGS) == 1, "the training of Saturday")
    machine.stop_schedules("retraining_schedule")
    machine.wait_until_quiet()
    simulation.note("trained")
    simulation.daily_run(SPLIT)
    _a_bar_that_comes_too_late(simulation)
    simulation.daily_run(BEFORE_THANKSGIVING)
    _nothing_happens_at(simulation, THANKSGIVING, "18:15")
    _nothing_happens_at(simulation, EARLY_CLOSE, "13:05")
    simulation.daily_run(EARLY_CLOSE)
    simulation.daily_run(LAST)
    machine.wait_until_quiet()
    return simulation


def _an_outage_of_an_hour(simulation: Simulation) -> None:
    machine = simulation.machine
    machine.clock.set(new_york(OUTAGE, "18:14"))
    machine.tws.start_outage()
    for num_tries, moment in enumerate(TRIES_OF_THE_OUTAGE, 1):
        machine.clock.reach(new_york(OUTAGE, moment))
        machine.wait_until(
            lambda tries=num_tries: machine.number(FAILED_TRIES.format(OUTAGE)) >= tries, f"try {num_tries} of {OUTAGE}"
        )
        machine.wait_until_quiet()
    simulation.note("outage")
    machine.clock.set(new_york(OUTAGE, "19:15"))
    machine.tws.end_outage()
    machine.clock.set(new_york(OUTAGE, "19:22"))
    machine.wait_until_all_have_rows(OUTAGE)
    machine.wait_until_quiet()
    simulation.note(OUTAGE)


def _killed_in_the_middle(simulation: Simulation) -> None:
    machine = simulation.machine
    machine.tws.latency_seconds = 10
    machine.clock.set(new_york(KILL, "18:15"))
    machine.wait_until(lambda: machine.number(TRIED.format(KILL)) > 0, f"the beginning of {KILL}")
    machine.kill()
    machine.tws.latency_seconds = 0
    assert machine.num_rows(KILL) == 0
    simulation.note("killed")
    machine.clock.set(new_york(KILL, "18:25"))
    machine.up()
    machine.wait_until_all_have_rows(KILL)
    machine.wait_until_quiet()
    simulation.note(KILL)


def _a_bar_that_comes_too_late(simulation: Simulation) -> None:
    machine = simulation.machine
    machine.tws.market.withheld = frozenset({universe.LATE_TICKER})
    machine.clock.set(new_york(LATE, "18:15"))
    machine.wait_until(lambda: machine.num_rows(LATE) == len(machine.tickers) - 1, f"the rows of {LATE}")
    machine.wait_until_quiet()
    machine.clock.set(new_york(BEFORE_THANKSGIVING, "07:31"))
    machine.wait_until(lambda: bool(about(machine.mailbox, "deadline", universe.LATE_TICKER)), "a warning in time")
    machine.wait_until(lambda: machine.number(FAILED_TRIES.format(LATE)) >= 2, f"the second try of {LATE}")
    machine.wait_until_quiet()
    machine.clock.set(new_york(BEFORE_THANKSGIVING, "09:31"))
    machine.wait_until(lambda: machine.number(FAILED_TRIES.format(LATE)) >= 3, f"the third try of {LATE}")
    machine.wait_until_quiet()
    machine.clock.set(new_york(BEFORE_THANKSGIVING, "09:40"))
    machine.wait_until_all_have_rows(LATE)
    simulation.note(LATE)
    machine.tws.market.withheld = frozenset()


def _nothing_happens_at(simulation: Simulation, day: str, time_of_day: str) -> None:
    """Give schedules and sensors time in which they do nothing."""
    simulation.machine.clock.set(new_york(day, time_of_day))
    time.sleep(IDLE_SECONDS)
    simulation.machine.wait_until_quiet()
    simulation.note(f"{day} {time_of_day}")


def last_session_before(day: str) -> str:
    calendar = exchange_calendar()
    return calendar.offset(date.fromisoformat(day), -1).isoformat()


@contextmanager
def machine_of(num_tickers: int) -> Iterator[Machine]:
    """A new installation on the evening of FIRST, with its bars and an active network a ticker."""
    tickers = universe.tickers_of_the_example(num_tickers)
    calendar = exchange_calendar()
    with server_home() as folder:
        config = folder / "universe.toml"
        universe.write_configuration(config, tickers)
        clock = ShiftedClock(folder, new_york(FIRST, "19:00"))
        # the daily runs that a retry is apart lie closer together in real time than TWS allows for equal requests
        tws = TwsPeer(
            universe.walks(tickers, calendar), clock=clock.now, splits=[universe.the_split()], identical_seconds=0.0
        )
        with tws, listening() as mailbox:
            variables = {"LDTM_IB_PORT": str(tws.port), "LDTM_ALERT_URLS": mailbox.url}
            installation = ShiftedInstallation(config=config, clock=clock, variables=variables)
            machine = Machine(installation=installation, clock=clock, tws=tws, mailbox=mailbox, port=_free_port())
            try:
                _furnish(machine)
                yield machine
            finally:
                machine.down()


def _furnish(machine: Machine) -> None:
    """Load the histories, as an owner does, and put an active network in place for every ticker."""
    config = machine.installation.config
    done = subprocess.run(
        [sys.executable, "-c", HISTORIES, str(config)],
        env=machine.installation.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = machine.home / "checkpoints"
    folder.mkdir()
    networks = SmallNetworks.written(folder, machine.tickers, 1)
    with machine.database().transaction() as conn:
        for ticker in machine.tickers:
            networks.promote(conn, ticker, 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
