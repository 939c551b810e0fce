"""`ldtm demo`: the whole loop on the bundled real bars, through the same assets that production runs.

Each stage asks the database whether it is up to date and is skipped when it is, before Dagster is even imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ldtm_cli.job_run import JobRun
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.ledger.fillbacks import due
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import fingerprint, load_settings

if TYPE_CHECKING:
    from ldtm_lib.training.run import TrainingCallbacks

FORECAST_SESSIONS = 30
"""The last sessions of the sample, on whose evenings the demo forecasts."""
SAMPLE_END = date(2013, 3, 1)
SETTINGS_FILE = "demo.sha256"
SECONDS_BETWEEN_DRAWINGS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One or more runs of the demo, and how the database tells that they are not needed."""

    title: str
    is_done: Callable[[Connection], bool]
    runs: tuple[JobRun, ...]


def require_sample(config: Path) -> None:
    """Refuse any configuration but one of the sample: forecasts of 2013 could never be removed from a real ledger."""
    source = load_settings(config).source
    if source.kind != "sample":
        raise ConfigurationError(
            f"{config} has the source {source.kind!r}; the demo writes forecasts of 2013, which no ledger forgets. "
            "Run it with demo.toml"
        )


def run_demo(project: Project, calendar: Calendar, console: Console) -> bool:
    """Bring every stage up to date; returns whether anything had to be done."""
    stages = stages_of(project, calendar)
    with project.database.transaction() as conn:
        done = [stage.is_done(conn) for stage in stages]
    if all(done):
        return False
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TimeElapsedColumn())
    with Progress(SpinnerColumn(finished_text="[green]✓[/]"), *columns, console=console) as progress:
        starting = progress.add_task("Dagster: definitions and storage", total=None)
        from ldtm_cli.runs import Launcher

        with Launcher(project, TrainingBar(progress)) as launcher:
            progress.update(starting, total=1, completed=1)
            for stage in stages:
                _bring_up_to_date(stage, project, launcher.run, progress)
    (project.home / SETTINGS_FILE).write_text(_settings_sha256(project))
    return True


def stages_of(project: Project, calendar: Calendar) -> list[Stage]:
    """The demo: histories, models trained before the forecasts, 30 evenings, the leaderboard."""
    tickers = list(project.settings.tickers)
    last = project.settings.partitions.last_session or SAMPLE_END
    first = calendar.offset(last, 1 - FORECAST_SESSIONS)
    trained_on = calendar.offset(first, -1)

    def histories_loaded(conn: Connection) -> bool:
        return _count(conn, query("demo.histories_loaded"), tickers=tickers, session=trained_on) == len(tickers)

    def models_judged(conn: Connection) -> bool:
        judged = _count(conn, query("demo.tickers_judged"), tickers=tickers, session=trained_on)
        return judged == len(tickers) and _remembered(project) == _settings_sha256(project)

    def evenings_recorded(conn: Connection) -> bool:
        rows = _count(conn, query("demo.forecasts_on_record"), tickers=tickers, first=first, last=last)
        return rows == len(tickers) * FORECAST_SESSIONS and not due(conn, as_of=last)["bar_is_there"].any()

    by_ticker = {"first_partition": tickers[0], "last_partition": tickers[-1]}
    by_cell = {"first_partition": f"{first}|{tickers[0]}", "last_partition": f"{last}|{tickers[-1]}"}
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
            title=f"{FORECAST_SESSIONS} evenings: prices to fillbacks",
            is_done=evenings_recorded,
            runs=(
                JobRun(job="daily_job", step="daily_forecast", config={"simulated": True}, **by_cell),
                JobRun(job="leaderboard_job", step="leaderboard", config={"simulated": True}),
            ),
        ),
    ]


class TrainingBar:
    """Shows a training as a bar, drawn again a few times a second however many networks advance at once."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def waits(self, reason: str) -> None:
        """Say in the place of the bar why nothing moves."""
        self._progress.add_task(f"  training waits: {reason}", total=None)

    def start(self, log: Callable[[str], None]) -> "TrainingCallbacks":
        """Begin a bar; the log of the step gets the summary alone."""
        from ldtm_assets.training.progress import TrainingTally  # brings torch along: not for a demo that is up to date

        del log
        bar = self._progress.add_task("  training", total=1)

        def draw(tally: TrainingTally) -> None:
            text = f"  {tally.num_done} of {tally.num_networks} networks, {tally.losses}"
            self._progress.update(bar, completed=tally.share_done, description=text)

        return TrainingTally(draw, seconds_between=SECONDS_BETWEEN_DRAWINGS)


def _bring_up_to_date(stage: Stage, project: Project, launch: Callable[[JobRun], str], progress: Progress) -> None:
    task = progress.add_task(stage.title, total=None)
    with project.database.transaction() as conn:
        is_done = stage.is_done(conn)
    if not is_done:
        for run in stage.runs:
            launch(run)
    for shown in progress.tasks:
        progress.update(shown.id, total=1, completed=1)
    progress.update(task, description=stage.title + (" (up to date)" if is_done else ""))


def _settings_sha256(project: Project) -> str:
    """A fingerprint of all settings that the models and their judgement depend on."""
    s = project.settings
    return fingerprint(s.window, s.architecture, s.training, s.backtest, s.gate, s.forecast)


def _remembered(project: Project) -> str:
    """The settings of the last demo that came to its end."""
    path = project.home / SETTINGS_FILE
    return path.read_text() if path.exists() else ""


def _count(conn: Connection, statement: bytes, **named: object) -> int:
    row = conn.execute(statement, named).fetchone()
    return 0 if row is None else row[0]
