"""`ldtm logs`: the log file of Dagster's processes, or the events of one run."""

import os
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ldtm_cli.invocation import current_config, ready_project
from ldtm_lib.errors import ConfigurationError, LdtmError
from ldtm_lib.wording import moment_text

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

SECONDS_BETWEEN_POLLS = 0.5
NUM_SEARCHED_RUNS = 1000
SHORTEST_ID = 6


class UnknownRun(LdtmError):
    """Dagster's storage has no run, or several runs, with the given id."""


def logs(
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN_ID", help="Id of a run, or the 8 characters of it that the UI shows.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new lines until Ctrl-C or the end of the run.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of past lines or events to print.")] = 100,
) -> None:
    """Print the log of Dagster's webserver and daemon, or the events of a run."""
    shown = file_lines(_log_file(), lines, follow=follow) if run_id is None else run_lines(run_id, lines, follow=follow)
    for line in shown:
        print(line, flush=follow)


def file_lines(log: Path, num_lines: int, *, follow: bool) -> Iterator[str]:
    """The last lines of a log file, then new lines as they are added; a truncated file is read from its start."""
    with log.open(errors="replace") as file:
        yield from (line.rstrip("\n") for line in deque(file, num_lines))
        while follow:
            if line := file.readline():
                yield line.rstrip("\n")
                continue
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            time.sleep(SECONDS_BETWEEN_POLLS)


def run_lines(run_id: str, num_events: int, *, follow: bool) -> Iterator[str]:
    """The last events of a run, then new events until the run ends."""
    from dagster import DagsterInstance

    from ldtm_cli.services import dagster_environment

    os.environ.update(dagster_environment(ready_project()))
    with DagsterInstance.get() as instance:
        run = _run(instance, run_id)
        yield f"run {run.run_id} of {run.job_name}: {run.status.value.lower()}"
        cursor, first = None, True
        while True:
            is_finished = run.is_finished
            page = instance.get_records_for_run(run.run_id, cursor=cursor)
            events = page.records[max(0, len(page.records) - num_events) :] if first else page.records
            for event in (record.event_log_entry for record in events):
                moment = datetime.fromtimestamp(event.timestamp, UTC)
                yield f"{moment_text(moment)} {event.step_key or '-'} {event.message or event.user_message}"
            cursor, first = page.cursor, False
            if page.has_more:
                continue
            if is_finished or not follow:
                return
            time.sleep(SECONDS_BETWEEN_POLLS)
            run = _run(instance, run.run_id)
            if run.is_finished:
                yield f"run {run.run_id}: {run.status.value.lower()}"


def _run(instance: "DagsterInstance", run_id: str) -> "DagsterRun":
    """Find a run by its id or the beginning of it; raises UnknownRun or ConfigurationError."""
    if (run := instance.get_run_by_id(run_id)) is not None:
        return run
    if len(run_id) < SHORTEST_ID:
        raise ConfigurationError(f"the run id {run_id!r} is too short; give at least {SHORTEST_ID} characters of it")
    found = [each for each in instance.get_runs(limit=NUM_SEARCHED_RUNS) if each.run_id.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    how_many = "several runs have an id" if found else f"none of the newest {NUM_SEARCHED_RUNS} runs has an id"
    raise UnknownRun(f"{how_many} that begins with {run_id!r}; the Runs page of the UI shows full ids")


def _log_file() -> Path:
    """The log file of this configuration; raises ConfigurationError if it does not exist."""
    from ldtm_lib.maintenance.disk import dagster_log
    from ldtm_lib.project import home_of
    from ldtm_lib.settings import load_settings

    log = dagster_log(home_of(load_settings(current_config())))
    if not log.exists():
        raise ConfigurationError(
            f"there is no log at {log}; `ldtm up` creates it, `ldtm up --foreground` prints the log instead"
        )
    return log
