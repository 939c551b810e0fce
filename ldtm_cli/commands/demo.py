"""`ldtm demo`: the whole loop on the bundled real bars, through the same assets that production runs.

Each stage asks the database whether it is up to date and is skipped when it is, before Dagster is even imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from ldtm_cli.commands.leaderboard import show_leaderboard
from ldtm_cli.invocation import AsJson, console, errors
from ldtm_lib.atomic_io import write_whole
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.installation import FILES, ldtm_command

if TYPE_CHECKING:
    from rich.progress import Progress

    from ldtm_cli.runs import JobRun
    from ldtm_lib.database.connection import Connection
    from ldtm_lib.project import Project
    from ldtm_lib.sessions import Calendar

FORECAST_SESSIONS = 30
"""The last sessions of the sample, which the demo forecasts."""
SAMPLE_END = date(2013, 3, 1)
SETTINGS_FILE = "demo.sha256"
EPILOGUE = """
[bold]What this shows.[/] Real figures of small networks on 30 simulated sessions.
No model made a forecast for a session that its training had seen. Models that
the gate refused forecast as [italic]candidate[/], so that there are rows to show: that
is a setting of demo.toml. Simulated rows never count as live ones.

[bold]Next[/]  {ldtm} -c demo.toml forecasts       what was forecast
      {ldtm} -c demo.toml registry list   models and verdicts
      {ldtm} -c demo.toml audit verify    check the record
      {ldtm} -c demo.toml up              Dagster on port 3000
      {ldtm} -c demo.toml down            stop all of it
      rm -rf .ldtm/ldtm_demo   remove the demo
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One or more runs of the demo, and how the database tells that they are not needed."""

    title: str
    is_done: "Callable[[Connection], bool]"
    runs: "tuple[JobRun, ...]"


def demo(context: typer.Context, as_json: AsJson = False) -> None:
    """Run the whole loop on bundled real bars: prices, backtests, gate, forecasts, actuals, leaderboard.

    Everything goes through the same Dagster assets that production uses, on the CPU, with an embedded PostgreSQL
    when LDTM_DATABASE_URL names no server. A second call does only what is not up to date. The configuration is
    demo.toml of the working folder, which is written when there is none; the state is in .ldtm beside it.
    """
    from ldtm_cli.services import prepare
    from ldtm_lib.database.connection import address
    from ldtm_lib.sessions import exchange_calendar

    config = context.obj or demo_config(Path.cwd())
    require_sample(config)
    project, applied = prepare(config)
    progress_console = errors if as_json else console
    if applied:
        progress_console.print(
            f"PostgreSQL at {address(project.database.url)}, schema {project.database.schema} applied"
        )
    if not run_demo(project, exchange_calendar(), progress_console):
        progress_console.print("Nothing new to do: every stage of the demo is up to date.")
    show_leaderboard(project, simulated=True, as_json=as_json)
    if not as_json:
        console.print(EPILOGUE.format(ldtm=ldtm_command()))


def demo_config(folder: Path) -> Path:
    """The demo's configuration in a folder; a copy of the bundled one is written where there is none."""
    config = folder / "demo.toml"
    if not config.exists():
        write_whole(config, (FILES / "demo.toml").read_bytes())
    return config


def require_sample(config: Path) -> None:
    """Refuse any configuration but one of the sample: forecasts of 2013 could never be removed from a real ledger."""
    from ldtm_lib.settings import load_settings

    source = load_settings(config).source
    if source.kind != "sample":
        raise ConfigurationError(
            f"{config} has the source {source.kind!r}; the demo writes forecasts of 2013, which no ledger forgets. "
            "Run it with demo.toml"
        )


def run_demo(project: "Project", calendar: "Calendar", console: Console) -> bool:
    """Bring every stage up to date; returns whether anything had to be done."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    stages = stages_of(project, calendar)
    with project.database.transaction() as conn:
        done = [stage.is_done(conn) for stage in stages]
    if all(done):
        return False
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TimeElapsedColumn())
    with Progress(SpinnerColumn(finished_text="[green]✓[/]"), *columns, console=console) as progress:
        starting = progress.add_task("Dagster: definitions and storage", total=None)
        from ldtm_cli.runs import Launcher
        from ldtm_cli.training_bar import TrainingBar

        with Launcher(project, TrainingBar(progress)) as launcher:
            progress.update(starting, total=1, completed=1)
            for stage in stages:
                _bring_up_to_date(stage, project, launcher.run, progress)
    (project.home / SETTINGS_FILE).write_text(_settings_sha256(project))
    return True


def stages_of(project: "Project", calendar: "Calendar") -> list[Stage]:
    """The stages: histories, models trained before the forecasts, the daily runs of 30 sessions, the leaderboard."""
    from ldtm_cli.runs import JobRun
    from ldtm_lib.database.queries import query
    from ldtm_lib.ledger.fillbacks import due

    tickers = list(project.settings.tickers)
    last = project.settings.partitions.last_session or SAMPLE_END
    first = calendar.offset(last, 1 - FORECAST_SESSIONS)
    trained_on = calendar.offset(first, -1)

    def histories_loaded(conn: "Connection") -> bool:
        return _count(conn, query("demo.histories_loaded"), tickers=tickers, session=trained_on) == len(tickers)

    def models_judged(conn: "Connection") -> bool:
        judged = _count(conn, query("demo.tickers_judged"), tickers=tickers, session=trained_on)
        return judged == len(tickers) and _last_settings_sha256(project) == _settings_sha256(project)

    def sessions_recorded(conn: "Connection") -> bool:
        rows = _count(conn, query("demo.forecasts_on_record"), tickers=tickers, first=first, last=last)
        return rows == len(tickers) * FORECAST_SESSIONS and not due(conn, as_of=last)["bar_is_there"].any()

    by_ticker = {"first_partition": tickers[0], "last_partition": tickers[-1]}
    by_session_and_ticker = {"first_partition": f"{first}|{tickers[0]}", "last_partition": f"{last}|{tickers[-1]}"}
    return [
        Stage(
            title=f"price history of {len(tickers)} tickers",
            is_done=histories_loaded,
            runs=(
                JobRun(
                    job="price_history_job",
                    step="price_history",
                    config={"last_session": trained_on.isoformat()},
                    **by_ticker,
                ),
            ),
        ),
        Stage(
            title="backtests, checkpoints, registry",
            is_done=models_judged,
            runs=(
                JobRun(
                    job="retraining_job",
                    step="retraining",
                    config={"trained_on": trained_on.isoformat()},
                    **by_ticker,
                ),
            ),
        ),
        Stage(
            title=f"{FORECAST_SESSIONS} sessions: prices to fillbacks",
            is_done=sessions_recorded,
            runs=(
                JobRun(job="daily_job", step="daily_forecast", config={"simulated": True}, **by_session_and_ticker),
                JobRun(job="leaderboard_job", step="leaderboard", config={"simulated": True}),
            ),
        ),
    ]


def _bring_up_to_date(
    stage: Stage, project: "Project", launch: "Callable[[JobRun], str]", progress: "Progress"
) -> None:
    task = progress.add_task(stage.title, total=None)
    with project.database.transaction() as conn:
        is_done = stage.is_done(conn)
    if not is_done:
        for run in stage.runs:
            launch(run)
    for shown in progress.tasks:
        progress.update(shown.id, total=1, completed=1)
    progress.update(task, description=stage.title + (" (up to date)" if is_done else ""))


def _settings_sha256(project: "Project") -> str:
    """A fingerprint of all settings that the models and their judgement depend on."""
    from ldtm_lib.settings import fingerprint

    s = project.settings
    return fingerprint(s.window, s.architecture, s.training, s.backtest, s.gate, s.forecast)


def _last_settings_sha256(project: "Project") -> str:
    """The fingerprint of the last demo that ran to its end; empty when there was none."""
    path = project.home / SETTINGS_FILE
    return path.read_text() if path.exists() else ""


def _count(conn: "Connection", statement: bytes, **named: object) -> int:
    row = conn.execute(statement, named).fetchone()
    return 0 if row is None else row[0]
