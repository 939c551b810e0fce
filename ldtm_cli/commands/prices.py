"""`ldtm prices import`: bars from a folder into the store, file by file, with the result of each ticker."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, print_json, ready_project
from ldtm_lib.errors import SourceError

if TYPE_CHECKING:
    from ldtm_lib.project import Project

NUM_SHOWN = 10
"""Ignored files that are named in a terminal."""

app = typer.Typer(help="Daily bars.")


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A folder of CSV or Parquet files, named after their tickers.")],
    basis: Annotated[
        Literal["adjusted", "raw"],
        typer.Option(help="`adjusted`: splits are taken out of the prices already. `raw`: they are not."),
    ],
    as_json: AsJson = False,
) -> None:
    """Import bars from files into the store: new bars, restated ones as new vintages, nothing for equal ones.

    A file that cannot be read is reported with its line and the remedy; the others are imported. Exit status 1 when
    any failed, or when no ticker had a bar.
    """
    report = import_files(ready_project(), folder, basis)
    print_json(report.as_dict()) if as_json else print_import(console, report)
    if not report.is_complete:
        raise typer.Exit(EXIT_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Result of an import."""

    tickers: list[dict[str, object]]
    """One per ticker with bars: how many are new, restated, unchanged, refused."""
    splits: list[str]
    notes: list[str]
    failures: dict[str, str]
    """By ticker, why its files gave no bars."""
    num_without_file: int
    """Tickers of the universe that the folder does not have."""
    ignored_files: list[str]
    """Files that hold no ticker of the universe, and those that could not be read with the reason."""

    @property
    def num_imported(self) -> int:
        """Tickers with at least one bar that was taken."""
        taken = ("num_new", "num_restated", "num_unchanged")
        return sum(any(row[name] for name in taken) for row in self.tickers)

    @property
    def is_complete(self) -> bool:
        """Whether there was something to import, and none of it failed."""
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

    Raises ConfigurationError when the folder is none.
    """
    from ldtm_lib.database.clock import last_closed_session
    from ldtm_lib.prices.ingest import ingest
    from ldtm_lib.prices.sources.files import FilesSource
    from ldtm_lib.sessions import FIRST_DAY, exchange_calendar

    calendar = exchange_calendar()
    source = FilesSource(folder, basis)
    with project.database.transaction() as conn:
        last = last_closed_session(conn)
    delivery = source.fetch(project.settings.tickers, FIRST_DAY, last)
    with project.database.transaction() as conn:
        recorded = ingest(conn, delivery, source=source.name, calendar=calendar)
    absent = {ticker for ticker, error in delivery.failures.items() if type(error) is SourceError}
    return ImportReport(
        tickers=recorded.per_ticker.to_dicts(),
        splits=[f"{split.ticker}: {split.ratio:g} for 1 on {split.session}" for split in recorded.splits],
        notes=[*delivery.notes, *recorded.notes],
        failures={ticker: str(error) for ticker, error in delivery.failures.items() if ticker not in absent},
        num_without_file=len(absent),
        ignored_files=list(delivery.ignored),
    )


def print_import(console: Console, report: ImportReport) -> None:
    """Show what an import did."""
    if report.tickers:
        table = Table()
        for name in ("ticker", "new", "restated", "unchanged", "refused"):
            table.add_column(name, justify="left" if name == "ticker" else "right")
        for row in report.tickers:
            counts = (f"{row[f'num_{name}']:,}" for name in ("new", "restated", "unchanged", "refused"))
            table.add_row(str(row["ticker"]), *counts)
        console.print(table)
    for split in report.splits:
        console.print(f"split    {split}")
    for note in report.notes:
        console.print(f"[yellow]note[/]     {escape(note)}", soft_wrap=True)
    for ticker, reason in report.failures.items():
        console.print(f"[red]failed[/]   {ticker}: {escape(reason)}", soft_wrap=True)
    if report.ignored_files:
        shown = ", ".join(report.ignored_files[:NUM_SHOWN])
        more = len(report.ignored_files) - NUM_SHOWN
        others = f" and {more:,} more (--json names them all)" if more > 0 else ""
        console.print(
            f"[yellow]ignored[/]  {escape(shown)}{others}: they hold no ticker of the universe, or cannot be read",
            soft_wrap=True,
        )
    if report.num_without_file:
        console.print(f"{report.num_without_file} tickers of the universe have no file in this folder.")
    if not report.num_imported:
        console.print(
            "[red]nothing was imported[/]: name each file after a ticker of the universe, such as AAPL.csv, "
            "or give it a column `ticker`"
        )
