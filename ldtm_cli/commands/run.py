"""`ldtm run`: starts a daily run now, with the same Dagster job that the schedule launches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, console, date_of, errors, ready_project
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.wording import counted, named

if TYPE_CHECKING:
    from ldtm_cli.runs import JobRun
    from ldtm_lib.database.connection import Connection
    from ldtm_lib.project import Project
    from ldtm_lib.sessions import Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCount:
    """The number of rows of one kind on a session."""

    kind: str
    num_rows: int
    num_abstained: int


def run(
    session: Annotated[
        date | None,
        typer.Argument(parser=date_of, metavar="DATE", help="Session to run. Default: the newest closed one."),
    ] = None,
    ticker: Annotated[
        list[str] | None, typer.Option("--ticker", "-t", help="Ticker to run, repeatable. Default: the universe.")
    ] = None,
    late: Annotated[
        bool, typer.Option("--late", help="Write rows even if the next session has opened; they are marked as late.")
    ] = False,
) -> None:
    """Fetch bars, record forecasts and fill actuals of one session now.

    Runs daily_job in this process; the UI shows the run. Existing rows stay unchanged. The command refuses a session
    that has not closed, and refuses to start during another daily run or a training. Once the next session has opened,
    missing rows are late: they are written only with --late, and only `ldtm leaderboard --late` counts them. Exit
    status 1 if a ticker failed.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from ldtm_cli.runs import Launcher, RunFailed, only_command
    from ldtm_lib.sessions import exchange_calendar

    project, calendar = ready_project(), exchange_calendar()
    with project.database.transaction() as conn:
        day = _closed_session(conn, project, calendar, session)
        chosen = _tickers_on(project, day, ticker)
        _announce_rows(conn, calendar, day, chosen, may_be_late=late)
        rows_before, filled_before = _rows(conn, day, chosen), _num_filled(conn, chosen)
    failure: str | None = None
    columns = (SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.description}"), TimeElapsedColumn())
    with only_command(project), Progress(*columns, console=console) as progress:
        task = progress.add_task(f"daily run of {day}: {counted(len(chosen), 'ticker')}", total=None)
        with Launcher(project) as launcher:
            launcher.require_no_other_run()
            try:
                launcher.run(_job_run(project, day, chosen))
            except RunFailed as failed:
                failure = str(failed)
        progress.update(task, total=1, completed=1)
    with project.database.transaction() as conn:
        rows, num_filled = _rows(conn, day, chosen), _num_filled(conn, chosen) - filled_before
    num_new = sum(row.num_rows for row in rows) - sum(row.num_rows for row in rows_before)
    print_rows(console, day, rows, num_new=num_new, num_filled=num_filled)
    if failure is not None:
        errors.print(f"[red]error:[/] {escape(failure)}", soft_wrap=True, highlight=False)
        raise typer.Exit(EXIT_FAILED)


def print_rows(console: Console, day: date, rows: Sequence[RowCount], *, num_new: int, num_filled: int) -> None:
    """Print the rows of a session, and what the run added."""
    kinds = "; ".join(
        f"{row.num_rows:,} {row.kind}" + (f", of which {row.num_abstained:,} abstained" if row.num_abstained else "")
        for row in rows
    )
    console.print(f"rows of {day}   {num_new:,} written now; on record: {kinds or 'none'}", highlight=False)
    console.print(f"actuals              {num_filled:,} filled now", highlight=False)


def _closed_session(conn: "Connection", project: "Project", calendar: "Calendar", asked: date | None) -> date:
    """The session to run; raises ConfigurationError for one that has not closed or has no partition."""
    from ldtm_lib.database.clock import last_closed_session

    partitions, newest = project.settings.partitions, last_closed_session(conn)
    day = min(newest, partitions.last_session or newest) if asked is None else calendar.require_session(asked)
    if day > newest:
        raise ConfigurationError(
            f"session {day} has not closed; the newest closed one is {newest}. Run it after its close, at "
            f"{calendar.closes_at(day):%Y-%m-%d %H:%M} UTC"
        )
    if day < partitions.first_session or day > (partitions.last_session or day):
        until = f" to {partitions.last_session}" if partitions.last_session else ""
        raise ConfigurationError(
            f"session {day} has no partition: {project.settings.path.name} has partitions from "
            f"{partitions.first_session}{until}; see `ldtm settings partitions`"
        )
    return day


def _tickers_on(project: "Project", day: date, asked: Sequence[str] | None) -> list[str]:
    """The tickers to run; raises ConfigurationError for one that is not in the universe on the session."""
    settings = project.settings
    present = settings.tickers_on(day)
    chosen = [settings.require_ticker(name) for name in asked or present]
    if gone := [name for name in chosen if name not in present]:
        raise ConfigurationError(f"{', '.join(gone)} left the universe before {day}; leave them out")
    return [name for name in settings.tickers if name in chosen]


def _announce_rows(
    conn: "Connection", calendar: "Calendar", day: date, tickers: Sequence[str], *, may_be_late: bool
) -> None:
    """Print which tickers get no row, and how many rows would be late.

    Raises ConfigurationError if the run would write late rows and `may_be_late` is false.
    """
    from ldtm_lib.database.clock import now
    from ldtm_lib.ledger.service import first_sessions, without_row
    from ldtm_lib.ledger.snapshots import missing_rows

    next_session, moment = calendar.offset(day, 1), now(conn)
    waiting = without_row(tickers, day, first_sessions(conn, tickers), calendar=calendar, moment=moment)
    if waiting:
        _note(
            f"no row of {day} is written for tickers that are not in service: {named(waiting)}. A ticker enters "
            "service on the first session after the gate's first verdict on it; run `ldtm train` to train it"
        )
    missing = missing_rows(conn, [(ticker, day) for ticker in tickers if ticker not in waiting])
    if not missing or moment < calendar.opens_at(next_session):
        return
    what = (
        f"{next_session} has opened: {counted(len(missing), 'missing row')} of {day} would be recorded as late, and "
        f"never {'counts' if len(missing) == 1 else 'count'} as live"
    )
    if not may_be_late:
        raise ConfigurationError(f"{what}. Write them with --late; `ldtm leaderboard --late` shows late rows")
    _note(what)


def _note(text: str) -> None:
    console.print(f"[yellow]note:[/] {text}.", highlight=False, soft_wrap=True)


def _job_run(project: "Project", day: date, tickers: list[str]) -> "JobRun":
    from ldtm_assets.automation.run_requests import contiguous
    from ldtm_assets.jobs import DAILY_JOB
    from ldtm_cli.runs import JobRun

    settings = project.settings
    is_part = settings.partitions.by == "date" and set(tickers) != set(settings.tickers_on(day))
    needs_names = is_part or len(contiguous(settings.tickers, tickers)) > 1
    return JobRun(
        job=DAILY_JOB,
        step="daily_forecast",
        first_partition=settings.partitions.key(day, tickers[0]),
        last_partition=settings.partitions.key(day, tickers[-1]),
        config={"only": tickers} if needs_names else {},
        concurrency_group="daily_run",
    )


def _rows(conn: "Connection", day: date, tickers: list[str]) -> list[RowCount]:
    from psycopg.rows import class_row

    from ldtm_lib.database.queries import query

    with conn.cursor(row_factory=class_row(RowCount)) as cursor:
        return cursor.execute(query("daily_run.session_rows"), {"session": day, "tickers": tickers}).fetchall()


def _num_filled(conn: "Connection", tickers: list[str]) -> int:
    from ldtm_lib.database.queries import query

    row = conn.execute(query("daily_run.num_filled"), {"tickers": tickers}).fetchone()
    return 0 if row is None else row[0]
