"""`ldtm train`: trains and judges models now, with the same Dagster job that the schedule launches."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, NOTHING, console, date_of, errors, ready_project
from ldtm_cli.tables import rows_table
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.wording import counted

if TYPE_CHECKING:
    from ldtm_cli.runs import JobRun
    from ldtm_lib.project import Project
    from ldtm_lib.registry.listing import RegistryEntry


def train(
    tickers: Annotated[
        list[str] | None, typer.Argument(metavar="TICKER", help="Tickers to train. Default: the universe.")
    ] = None,
    as_of: Annotated[
        date | None,
        typer.Option(
            "--as-of",
            parser=date_of,
            metavar="DATE",
            help="Last session whose bars are used. Default: the newest closed one.",
        ),
    ] = None,
) -> None:
    """Train models, backtest them walk-forward, and apply the gate, which promotes the models that pass.

    Runs retraining_job in this process; the UI shows the run. The command refuses to start during another training or
    a daily run. Exit status 1 if the training of a ticker failed; a model that the gate refuses is not a failure.
    """
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from ldtm_cli.runs import Launcher, RunFailed, only_command
    from ldtm_cli.training_bar import TrainingBar
    from ldtm_lib.database.clock import now

    project = ready_project()
    day = _last_session(project, as_of)
    chosen = [project.settings.require_ticker(ticker) for ticker in tickers or project.settings.tickers_on(day)]
    failures: list[str] = []
    with project.database.transaction() as conn:
        began = now(conn)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TimeElapsedColumn())
    with only_command(project), Progress(SpinnerColumn(), *columns, console=console) as progress:
        progress.add_task(f"training of {counted(len(chosen), 'ticker')} on bars up to {day}", total=None)
        with Launcher(project, TrainingBar(progress)) as launcher:
            launcher.require_no_other_run()
            for run in _runs(project, chosen, day):
                try:
                    launcher.run(run)
                except RunFailed as failed:
                    failures.append(str(failed))
        for task in progress.tasks:
            progress.update(task.id, total=1, completed=1)
    print_verdicts(console, chosen, _newest_entries(project), began)
    for failure in failures:
        errors.print(f"[red]error:[/] {escape(failure)}", soft_wrap=True, highlight=False)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _last_session(project: "Project", asked: date | None) -> date:
    """The last session whose bars are used; raises ConfigurationError if `asked` has not closed."""
    from ldtm_lib.database.clock import last_closed_session
    from ldtm_lib.sessions import exchange_calendar

    with project.database.transaction() as conn:
        newest = last_closed_session(conn)
    if asked is None:
        return newest
    if exchange_calendar().require_session(asked) > newest:
        raise ConfigurationError(f"session {asked} of --as-of has not closed; the newest closed session is {newest}")
    return asked


def _runs(project: "Project", tickers: list[str], day: date) -> "list[JobRun]":
    """One run per contiguous range of tickers.

    If a run over a range with gaps failed, Dagster would mark the tickers in the gaps as failed too.
    """
    from ldtm_assets.automation.run_requests import contiguous
    from ldtm_assets.jobs import RETRAINING_JOB
    from ldtm_cli.runs import JobRun

    return [
        JobRun(
            job=RETRAINING_JOB,
            step="retraining",
            first_partition=names[0],
            last_partition=names[-1],
            config={"trained_on": day.isoformat()},
            concurrency_group="retraining",
        )
        for names in contiguous(project.settings.tickers, tickers)
    ]


def _newest_entries(project: "Project") -> "dict[str, RegistryEntry]":
    """The registry entries by ticker, of all tickers that were ever trained or judged."""
    from ldtm_lib.registry.listing import list_registry

    with project.database.transaction() as conn:
        return {entry.ticker: entry for entry in list_registry(conn)}


def print_verdicts(
    console: Console, tickers: Sequence[str], entries: "Mapping[str, RegistryEntry]", began: datetime
) -> None:
    """Print the gate's verdict on the newest model of each ticker, with its date if it is older than this training."""
    table = rows_table()
    for name in ("ticker", "gate", "active"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", min_width=24)
    for ticker in tickers:
        entry = entries.get(ticker)
        verdict = entry.verdict if entry else None
        if entry is None or verdict is None:
            table.add_row(ticker, "not judged", NOTHING, NOTHING)
            continue
        gate = "[green]passed[/]" if verdict.passed else "[yellow]refused[/]"
        if entry.decided_at is not None and entry.decided_at < began:
            gate += f" on {entry.decided_at:%Y-%m-%d}"
        why = ";\n".join(rule.reason for rule in verdict.failures) or "every rule passed"
        table.add_row(ticker, gate, entry.active_version or NOTHING, escape(why))
    console.print(table)
