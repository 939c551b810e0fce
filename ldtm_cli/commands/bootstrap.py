"""`ldtm bootstrap`: builds a record from a universe and a source, or adds the missing parts of one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ldtm_cli.commands.leaderboard import show_leaderboard
from ldtm_cli.invocation import AsJson, console, current_config, errors
from ldtm_lib.bootstrap.request import DEFAULT_RETRAIN_EVERY, DEFAULT_SESSIONS, BootstrapRequest
from ldtm_lib.installation import ldtm_command

if TYPE_CHECKING:
    from ldtm_lib.bootstrap.state import BootstrapState
    from ldtm_lib.project import Project
    from ldtm_lib.sessions import Calendar

AUTOMATION_ON = "Automation is on: daily runs and trainings start automatically while Dagster runs."
AUTOMATION_OFF = """Automation is off. To record live forecasts automatically after every session, set
  [automation]
  enabled = true
in {config}."""
NEXT_STEPS = """
[bold]Next[/]  {ldtm} up          start Dagster: the UI, schedules and sensors
      {ldtm} status      when the next forecasts are due, and what needs attention
      {ldtm} forecasts   the forecasts on record
      {ldtm} run         the daily run of the newest session, now
"""


def bootstrap(
    sessions: Annotated[
        int, typer.Option("--sessions", min=1, help="Past sessions to simulate, up to the newest one.")
    ] = DEFAULT_SESSIONS,
    retrain_every: Annotated[
        int, typer.Option("--retrain-every", min=1, help="Sessions between two trainings in the simulation.")
    ] = DEFAULT_RETRAIN_EVERY,
    as_json: AsJson = False,
) -> None:
    """Set up the history and the models that forecasts need, simulate past sessions, and show their leaderboard.

    Simulated sessions are forecast by models that were trained before them, never by today's models. Their rows are
    recorded under the number of the simulation and never count as live. The command can be interrupted and repeated:
    a second call does only what is missing.
    """
    request = BootstrapRequest(num_sessions=sessions, retrain_every=retrain_every)
    require_source(current_config())
    project = bring_up_to_date(current_config(), request, as_json=as_json)
    if not as_json:
        print_next_steps(console, project)


def require_source(config: Path) -> None:
    """Check the source of a new installation; raises SourceError with the remedy if it has no bars at all.

    An installation that exists may have its bars already, and then needs no source.
    """
    from ldtm_cli.finding import guarded
    from ldtm_cli.source_finding import source_finding
    from ldtm_lib.errors import SourceError
    from ldtm_lib.project import home_of
    from ldtm_lib.settings import load_settings

    settings = load_settings(config)
    if home_of(settings).exists():
        return
    (finding,) = guarded("source", f"correct [source] in {config}", lambda: [source_finding(settings, os.environ)])
    message = f"{finding.found}; {finding.remedy}"
    if finding.level == "fail":
        raise SourceError(message)
    if finding.level == "warn":
        errors.print(f"source: {message}", style="yellow", markup=False)


def bring_up_to_date(config: Path, request: BootstrapRequest, *, as_json: bool) -> "Project":
    """Prepare the database, run the missing stages, and print the leaderboard of the newest simulation."""
    from ldtm_cli.services import prepare
    from ldtm_lib.database.connection import address
    from ldtm_lib.sessions import exchange_calendar

    project, applied = prepare(config)
    progress_console = errors if as_json else console
    if applied:
        progress_console.print(
            f"PostgreSQL at {address(project.database.url)}, schema {project.database.schema} applied"
        )
    if not run_bootstrap(project, exchange_calendar(), request, progress_console):
        progress_console.print("Nothing new to do: history, simulation and models are up to date.")
    show_leaderboard(project, simulated=True, as_json=as_json)
    return project


def print_next_steps(console: Console, project: "Project") -> None:
    """Print whether automation is on, and the next commands."""
    off = AUTOMATION_OFF.format(config=project.settings.path.name)
    console.print("\n" + (AUTOMATION_ON if project.settings.automation.enabled else off), markup=False)
    console.print(NEXT_STEPS.format(ldtm=ldtm_command()), highlight=False, end="")


def run_bootstrap(project: "Project", calendar: "Calendar", request: BootstrapRequest, console: Console) -> bool:
    """Run the missing stages in one Dagster run; returns False if none was missing. Raises RunFailed."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    if _state(project, calendar, request).is_complete:
        return False
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), TimeElapsedColumn())
    with Progress(SpinnerColumn(finished_text="[green]✓[/]"), *columns, console=console) as progress:
        from ldtm_cli.training_bar import TrainingBar

        bars = TrainingBar(progress)
        bars.stage("Dagster: definitions and storage")
        from ldtm_cli.runs import JobRun, Launcher, only_command

        with only_command(project), Launcher(project, bars) as launcher:
            launcher.require_no_other_run()
            launcher.run(
                JobRun(
                    job="bootstrap_job",
                    step="bootstrap",
                    config={"sessions": request.num_sessions, "retrain_every": request.retrain_every},
                    concurrency_group="retraining",
                )
            )
        bars.complete()
    return True


def _state(project: "Project", calendar: "Calendar", request: BootstrapRequest) -> "BootstrapState":
    from ldtm_lib.bootstrap.state import bootstrap_state

    with project.database.transaction() as conn:
        return bootstrap_state(conn, project.settings, calendar, request)
