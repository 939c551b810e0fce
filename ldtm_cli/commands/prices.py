"""`ldtm prices`: import and download of bars, quarantined bars, and statements about splits."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, current_config, date_of, errors, print_json, ready_project
from ldtm_cli.tables import rows_table
from ldtm_lib.errors import ConfigurationError, SourceError
from ldtm_lib.wording import counted, named

if TYPE_CHECKING:
    from ldtm_lib.prices.downloads import DownloadReport
    from ldtm_lib.prices.release import ReleasedBar
    from ldtm_lib.prices.split_statements import StatedSplit
    from ldtm_lib.project import Project

SESSIONS = ("first_session", "last_session")
NUM_SHOWN = 10
"""Number of ignored files that the terminal output names."""

app = typer.Typer(help="Daily bars.")


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="Folder of CSV or Parquet files, named after their tickers.")],
    basis: Annotated[
        Literal["adjusted", "raw"],
        typer.Option(help="`adjusted`: prices are already adjusted for splits. `raw`: they are not."),
    ],
    as_json: AsJson = False,
) -> None:
    """Import bars from files into the store: new bars, and restated bars as new vintages; equal bars are skipped.

    A file that cannot be read is reported with its line and the remedy; the others are imported. Exit status 1 if a
    file failed, if no bar of a ticker is valid, or if no ticker had a bar.
    """
    report = import_files(ready_project(may_be_demo=False), folder, basis)
    print_json(report.as_dict()) if as_json else print_import(console, report)
    if not report.is_complete:
        raise typer.Exit(EXIT_FAILED)


@app.command("download")
def download_(
    folder: Annotated[Path, typer.Option("--to", help="Folder for the CSV files, one per ticker.")],
    tickers: Annotated[
        list[str] | None, typer.Argument(help="Tickers of the universe. Default: all that are not retired.")
    ] = None,
    first: Annotated[
        date | None,
        typer.Option(parser=date_of, metavar="DATE", help="First session. Default: the earliest available."),
    ] = None,
    last: Annotated[
        date | None, typer.Option(parser=date_of, metavar="DATE", help="Last session. Default: the newest closed one.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also fetch tickers whose files are complete.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download the history of tickers from the configured source into files that the source `files` reads.

    An interrupted download resumes: complete files are not fetched again. A failing ticker does not stop the others.
    Exit status 1 if any ticker failed. No database is needed.
    """
    report = download_files(folder, tickers, first, last, again=again)
    print_json(asdict(report)) if as_json else print_download(console, report, folder)
    if report.failures:
        raise typer.Exit(EXIT_FAILED)


@app.command("split")
def split_(
    ticker: Annotated[str, typer.Argument(help="The ticker.")],
    session: Annotated[
        date, typer.Argument(parser=date_of, metavar="DATE", help="The first session on the new basis.")
    ],
    ratio: Annotated[
        str, typer.Argument(help="New shares for one old share, such as 2, 3:2 or 1:10; 1 withdraws a split.")
    ],
    lacking: Annotated[
        bool | None,
        typer.Option(
            help="Whether the stored bars before DATE are not adjusted for the split yet. Needed only if their prices "
            "do not show it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """State a split that the source does not declare, or declares wrongly; a ratio of 1 withdraws a split.

    Stored bars that lack the split are restated. Every statement stays on record, and deliveries do not change it.
    """
    stated = state(ready_project(may_be_demo=False), ticker, session, ratio, lacking)
    print_json(asdict(stated)) if as_json else print_stated(console, stated)


def state(project: "Project", ticker: str, session: date, ratio: str, lacking: bool | None = None) -> "StatedSplit":
    """Record a statement about a split; raises UnknownTicker, and ConfigurationError for an invalid ratio."""
    from ldtm_lib.prices.sources.declared_splits import split_ratio
    from ldtm_lib.prices.split_statements import state_split
    from ldtm_lib.sessions import exchange_calendar

    project.settings.require_ticker(ticker)
    number = split_ratio(ratio)
    if number is None:
        raise ConfigurationError(f"{ratio!r} is not a split ratio; write 2, 3:2 or 1:10, or 1 to withdraw a split")
    with project.database.transaction() as conn:
        return state_split(conn, ticker, session, number, exchange_calendar(), lacks_it=lacking)


def print_stated(console: Console, stated: "StatedSplit") -> None:
    """Print what a statement changed."""
    what = "no split" if stated.ratio == 1 else f"a split of {stated.ratio:g} for 1"
    former = "" if stated.former_ratio == 1 else f" (before: {stated.former_ratio:g} for 1)"
    outcome = "is on record already" if not stated.num_rows else f"is on record now{former}"
    console.print(f"{escape(stated.ticker)} {stated.session}: {what} {outcome}", highlight=False)
    if stated.num_rows:
        bars = f"{counted(stated.num_restated, 'stored bar was', 'stored bars were')} restated"
        console.print(bars if stated.num_restated else "No stored bar was restated: none lacks the split.")


@app.command("quarantine")
def quarantine_(as_json: AsJson = False) -> None:
    """List the refused bars that no valid bar has replaced yet, each with the reason."""
    bars = refused_bars(ready_project())
    print_json(bars) if as_json else print_quarantine(console, bars)


@app.command("release")
def release_(
    ticker: Annotated[str, typer.Argument(help="The ticker.")],
    session: Annotated[date, typer.Argument(parser=date_of, metavar="DATE", help="The session of the bar.")],
    close: Annotated[
        float | None,
        typer.Option(help="The close of the bar to record, if several bars of the session are in quarantine."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Record a bar that was refused as an outlier but is right, and close its refusal.

    The bar is recorded as it arrived, with its source. A bar that is not valid, such as one whose high is below its
    low, cannot be released: load a corrected one.
    """
    bar = release_bar(ready_project(may_be_demo=False), ticker, session, close)
    print_json(asdict(bar)) if as_json else print_released(console, bar)


def refused_bars(project: "Project") -> list[dict[str, object]]:
    """The bars in quarantine, one row each."""
    from ldtm_lib.prices.release import quarantined_bars
    from ldtm_lib.sessions import exchange_calendar

    with project.database.transaction() as conn:
        return quarantined_bars(conn, exchange_calendar()).to_dicts()


def print_quarantine(console: Console, bars: Sequence[Mapping[str, object]]) -> None:
    """Print the bars in quarantine: a line of facts each, the reason below it, and the remedies at the end."""
    for bar in bars:
        state = "valid, but an outlier" if bar["is_releasable"] else "not valid"
        console.print(
            f"[bold]{escape(str(bar['ticker']))} {bar['session'] or 'no session'}[/]: from "
            f"{escape(str(bar['source']))}, first seen {bar['first_seen_at']:%Y-%m-%d %H:%M} UTC, {state}",
            highlight=False,
        )
        console.print(Padding(escape(str(bar["reason"])), (0, 0, 0, 4)), highlight=False)
    if not bars:
        console.print("no bar is in quarantine")
        return
    console.print(
        "\nTo accept an outlier that is right: [cyan]ldtm prices release TICKER DATE[/]. For every other bar load a "
        "corrected one, which takes the place of the refused bar.",
        highlight=False,
    )


def release_bar(project: "Project", ticker: str, session: date, close: float | None) -> "ReleasedBar":
    """Record a quarantined bar."""
    from ldtm_lib.prices.release import release
    from ldtm_lib.sessions import exchange_calendar

    with project.database.transaction() as conn:
        return release(conn, ticker, session, exchange_calendar(), close=close)


def print_released(console: Console, bar: "ReleasedBar") -> None:
    """Print the recorded bar."""
    console.print(
        f"{escape(bar.ticker)} {bar.session}: recorded from {escape(bar.source)}: open {bar.open:.10g}, high "
        f"{bar.high:.10g}, low {bar.low:.10g}, close {bar.close:.10g}, volume {bar.volume:.15g}",
        highlight=False,
    )


def download_files(
    folder: Path, tickers: list[str] | None, first: date | None, last: date | None, *, again: bool
) -> "DownloadReport":
    """Download bars of the configured source up to the newest session that has closed.

    Raises UnknownTicker for a ticker that is not in the configuration, ConfigurationError for a range without a
    closed session.
    """
    from ldtm_lib.prices.downloads import download
    from ldtm_lib.prices.sources.open import open_source
    from ldtm_lib.sessions import FIRST_DAY, exchange_calendar
    from ldtm_lib.settings import load_settings

    settings, calendar, now = load_settings(current_config()), exchange_calendar(), datetime.now(UTC)
    asked = [settings.require_ticker(ticker) for ticker in tickers or settings.tickers_on(now.date())]
    newest = calendar.last_closed(now)
    since, until = first or FIRST_DAY, min(last or newest, newest)
    if not calendar.between(since, until):
        raise ConfigurationError(f"no session from {since} to {until} has closed; change --first or --last")
    kind = settings.source.kind
    place = {"url": settings.url.url, "files": f"{settings.source.folder} {settings.source.basis}"}.get(kind)
    return download(
        open_source(settings, os.environ, now),
        asked,
        folder,
        origin=f"{kind} {place}" if place else kind,
        first=since,
        last=until,
        again=again,
        on_progress=lambda report: errors.print(
            f"{len(report.num_bars)} of {counted(len(asked), 'ticker')}", highlight=False
        ),
    )


def print_download(console: Console, report: "DownloadReport", folder: Path) -> None:
    """Print the result of a download."""
    for ticker, num_bars in report.num_bars.items():
        console.print(f"{escape(ticker)}: {counted(num_bars, 'bar')}", highlight=False)
    if report.complete:
        files = counted(len(report.complete), "file was", "files were")
        console.print(
            f"{files} complete already (--again fetches {'it' if len(report.complete) == 1 else 'them'} too)."
        )
    for note in report.notes:
        console.print(f"[yellow]note[/]     {escape(note)}", soft_wrap=True)
    for ticker, reason in report.failures.items():
        console.print(f"[red]failed[/]   {escape(ticker)}: {escape(reason)}", soft_wrap=True)
    if report.num_bars or report.complete:
        console.print(
            f'\nTo use them, set under [source]: kind = "files", folder = "{folder}", basis = "adjusted".\n'
            f"To import them: ldtm prices import {shlex.quote(str(folder))} --basis adjusted",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Result of an import."""

    tickers: list[dict[str, str | int]]
    """One row per ticker with bars: the numbers of new, restated, unchanged and refused bars, the first and the last
    session of valid ones (absent without any), and the number of notes that name the ticker."""
    splits: list[str]
    notes: list[str]
    failures: dict[str, str]
    """Reasons why files gave no valid bar, by ticker."""
    num_without_file: int
    """Tickers of the universe without a file in the folder."""
    ignored_files: list[str]
    """Files without a ticker of the universe, and unreadable files with the reason."""

    @property
    def num_imported(self) -> int:
        """Number of tickers with at least one accepted bar."""
        taken = ("num_new", "num_restated", "num_unchanged")
        return sum(any(row[name] for name in taken) for row in self.tickers)

    @property
    def is_complete(self) -> bool:
        """True if at least one ticker was imported and no file failed."""
        return self.num_imported > 0 and not self.failures

    def as_dict(self) -> dict[str, object]:
        """The report for JSON."""
        return {
            "tickers": self.tickers,
            "splits": self.splits,
            "notes": self.notes,
            "failures": self.failures,
            "num_without_file": self.num_without_file,
            "num_imported": self.num_imported,
            "ignored_files": self.ignored_files,
        }


def import_files(project: "Project", folder: Path, basis: Literal["adjusted", "raw"]) -> ImportReport:
    """Read the files of a folder and record the bars of every ticker of the universe that they hold.

    Raises ConfigurationError if `folder` is not a folder.
    """
    from ldtm_lib.database.clock import last_closed_session
    from ldtm_lib.prices.ingest import ingest
    from ldtm_lib.prices.quarantine import without_valid_bar
    from ldtm_lib.prices.sources.files import FilesSource
    from ldtm_lib.sessions import FIRST_DAY, exchange_calendar

    calendar = exchange_calendar()
    source = FilesSource(folder, basis)
    with project.database.transaction() as conn:
        last = last_closed_session(conn)
    delivery = source.fetch(project.settings.tickers, FIRST_DAY, last)
    with project.database.transaction() as conn:
        recorded = ingest(conn, delivery, source=source.name, calendar=calendar)
        refused = without_valid_bar(conn, recorded.per_ticker) | dict(recorded.held_back)
    notes = [*delivery.notes, *recorded.notes]
    absent = {ticker for ticker, error in delivery.failures.items() if type(error) is SourceError}
    return ImportReport(
        tickers=[
            row
            | {name: str(day) for name, day in zip(SESSIONS, recorded.sessions.get(row["ticker"], ()), strict=False)}
            | {"num_notes": sum(bool(re.search(rf"(^|\s){re.escape(row['ticker'])}\b", note)) for note in notes)}
            for row in recorded.per_ticker.iter_rows(named=True)
        ],
        splits=[f"{split.ticker}: {split.ratio:g} for 1 on {split.session}" for split in recorded.splits],
        notes=notes,
        failures={t: str(error) for t, error in delivery.failures.items() if t not in absent} | refused,
        num_without_file=len(absent),
        ignored_files=list(delivery.ignored),
    )


def print_import(console: Console, report: ImportReport) -> None:
    """Print the result of an import."""
    if report.tickers or report.failures:
        console.print(_import_table(report))
        if report.splits or report.notes or report.failures or report.ignored_files or report.num_without_file:
            console.print()
    for split in report.splits:
        console.print(f"split    {split}")
    for note in report.notes:
        console.print(f"[yellow]note[/]     {escape(note)}", soft_wrap=True)
    for ticker, reason in report.failures.items():
        console.print(f"[red]failed[/]   {ticker}: {escape(reason)}", soft_wrap=True)
    if report.ignored_files:
        shown = named(report.ignored_files, NUM_SHOWN)
        others = " (--json names them all)" if len(report.ignored_files) > NUM_SHOWN else ""
        hold = "it holds" if len(report.ignored_files) == 1 else "they hold"
        console.print(
            f"[yellow]ignored[/]  {escape(shown)}{others}: {hold} no ticker of the universe, or cannot be read",
            soft_wrap=True,
        )
    if report.num_without_file:
        tickers = counted(report.num_without_file, "ticker of the universe has", "tickers of the universe have")
        console.print(f"{tickers} no file in this folder.")
    if not report.num_imported:
        console.print(
            "[red]nothing was imported[/]: name each file after a ticker of the universe, such as AAPL.csv, "
            "or give it a column `ticker`"
        )


def _import_table(report: ImportReport) -> Table:
    """The result of an import by ticker, within 80 columns; the notes and failures follow as text."""
    from ldtm_lib.prices.ingest import COUNTS

    table = rows_table()
    for name in ("ticker", "new", "restated", "unchanged", "refused", "first", "last", "notes"):
        table.add_column(name, justify="right" if name in ("new", "restated", "unchanged", "refused") else "left")
    rows = {str(row["ticker"]): row for row in report.tickers}
    for ticker in sorted(rows | report.failures):
        row = rows.get(ticker, {})
        counts = [f"{row.get(name, 0):,}" for name in COUNTS]
        sessions = [str(row.get(name, "-")) for name in SESSIONS]
        table.add_row(
            ticker, *counts, *sessions, "failed" if ticker in report.failures else str(row["num_notes"] or "")
        )
    return table
