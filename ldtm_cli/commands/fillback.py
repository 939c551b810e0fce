"""`ldtm fillback`: the actuals that are due, and those that were filled."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ldtm_cli.invocation import AsJson, console, date_of, print_json, ready_project
from ldtm_cli.tables import rows_table

if TYPE_CHECKING:
    from ldtm_lib.ledger.fillbacks import FillReport


def fillback(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be filled and write nothing.")] = False,
    restated: Annotated[
        bool, typer.Option("--restated", help="List actuals whose bar was restated later, and write nothing.")
    ] = False,
    as_of: Annotated[
        date | None,
        typer.Option(parser=date_of, metavar="DATE", help="Only target sessions up to this one. Default: all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fill the actuals that are due into their forecasts; a filled actual never changes."""
    from ldtm_lib.database.clock import last_closed_session
    from ldtm_lib.ledger.fillbacks import due, fill, restated_actuals

    project = ready_project()
    with project.database.transaction() as conn:
        until = as_of or last_closed_session(conn)
    if restated or dry_run:
        with project.database.transaction() as conn:
            rows = (restated_actuals(conn) if restated else due(conn, as_of=until)).to_dicts()
        if as_json:
            print_json(rows)
        elif restated:
            print_restated(console, rows)
        else:
            print_due(console, rows, until)
    else:
        with project.database.transaction() as conn:
            report = fill(conn, as_of=until, config=project.settings.ledger)
        print_json(filled_as_dict(report)) if as_json else print_filled(console, report)


def filled_as_dict(report: "FillReport") -> dict[str, Any]:
    """Result of a fill, for JSON."""
    return {
        "as_of": report.as_of,
        "per_ticker": report.per_ticker.to_dicts(),
        "voided": report.voided.to_dicts(),
        "restated": report.restated.to_dicts(),
    }


def print_restated(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print the restatements next to the values on record."""
    from ldtm_lib.sessions import HORIZON_NAMES

    if not rows:
        console.print("No bar behind an actual was restated.")
        return
    table = rows_table("Actuals whose bar was restated later (times in UTC); the record does not change", is_dense=True)
    for name in ("ticker", "run date", "horizon", "target", "on record", "restated", "bar recorded"):
        table.add_column(name, justify="right" if name in ("on record", "restated") else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row["ticker"],
            str(row["run_date"]),
            HORIZON_NAMES[row["horizon"]],
            str(row["target_session"]),
            "voided" if row["actual"] is None else f"{row['actual']:.2f}",
            f"{row['restated_actual']:.2f}",
            f"{row['bar_recorded_at']:%Y-%m-%d %H:%M}",
        )
    console.print(table)


def print_due(console: Console, rows: list[dict[str, Any]], until: date) -> None:
    """Print what a fill would write."""
    from ldtm_lib.sessions import HORIZON_NAMES

    if not rows:
        console.print(f"Nothing is due up to {until}. Nothing was written.")
        return
    table = rows_table(f"Actuals due up to {until}; nothing was written")
    for name in ("ticker", "run date", "horizon", "target session", "forecast", "actual"):
        table.add_column(name, justify="right" if name in ("forecast", "actual") else "left")
    for row in rows:
        actual = f"{row['actual']:.2f}" if row["actual"] is not None else "no bar yet"
        table.add_row(
            row["ticker"],
            str(row["run_date"]),
            HORIZON_NAMES[row["horizon"]],
            str(row["target_session"]),
            f"{row['pred']:.2f}",
            actual,
        )
    console.print(table)


def print_filled(console: Console, report: "FillReport") -> None:
    """Print the result of a fill, the voided actuals, and the restatements by later vintages."""
    from ldtm_lib.sessions import HORIZON_NAMES

    rows = report.per_ticker.to_dicts()
    if not rows:
        console.print(f"There are no forecasts to fill up to {report.as_of}.")
        return
    table = rows_table(f"Actuals up to {report.as_of}: next day / next Monday / one month")
    for name in ("ticker", "filled", "still open", "due without a bar"):
        table.add_column(name)
    for row in rows:
        table.add_row(row["ticker"], *(_horizons(row, state) for state in ("filled", "open", "without_bar")))
    console.print(table)
    if len(report.voided):
        console.print()
    for row in report.voided.iter_rows(named=True):
        horizon = HORIZON_NAMES[row["horizon"]]
        console.print(
            f"voided: {row['ticker']} {row['run_date']}, {horizon}: {row['reason']}", highlight=False, markup=False
        )
    if len(report.restated):
        console.print()
        print_restated(console, report.restated.to_dicts())


def _horizons(row: dict[str, Any], state: str) -> str:
    counts = [row[f"num_{state}_{horizon}"] for horizon in ("next_day", "next_monday", "one_month")]
    return " / ".join(str(count) for count in counts)
