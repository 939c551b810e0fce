"""Fillbacks in a terminal and as JSON: what is due, and what was filled."""

from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from ldtm_lib.ledger.fillbacks import corrected_actuals, due, fill
from ldtm_lib.project import Project


def rows_due(project: Project, until: date) -> list[dict[str, Any]]:
    """Every actual that a fill would write, and every one it would find no bar for."""
    with project.database.transaction() as conn:
        return due(conn, as_of=until).to_dicts()


def fill_now(project: Project, until: date) -> list[dict[str, Any]]:
    """Fill what is due; one row per ticker with what was filled and what is still open."""
    with project.database.transaction() as conn:
        return fill(conn, as_of=until).per_ticker.to_dicts()


def rows_corrected(project: Project) -> list[dict[str, Any]]:
    """Filled actuals whose bar was corrected later: what is on record, and what the bar says now."""
    with project.database.transaction() as conn:
        return corrected_actuals(conn).to_dicts()


def print_corrected(console: Console, rows: list[dict[str, Any]]) -> None:
    """Show the corrections beside what is on record."""
    if not rows:
        console.print("No bar behind a filled actual was corrected.")
        return
    table = Table(title="Actuals whose bar was corrected later; the record stays")
    for name in ("ticker", "run date", "horizon", "target session", "on record", "corrected", "recorded at"):
        table.add_column(name, justify="right" if name in ("on record", "corrected") else "left")
    for row in rows:
        table.add_row(
            row["ticker"],
            str(row["run_date"]),
            row["horizon"].replace("_", " "),
            str(row["target_session"]),
            f"{row['actual']:.2f}",
            f"{row['corrected_actual']:.2f}",
            f"{row['recorded_at']:%Y-%m-%d %H:%M}",
        )
    console.print(table)


def print_due(console: Console, rows: list[dict[str, Any]], until: date) -> None:
    """Show what a fill would do."""
    if not rows:
        console.print(f"Nothing is due up to {until}. Nothing was written.")
        return
    table = Table(title=f"Due up to {until}; nothing was written")
    for name in ("ticker", "run date", "horizon", "target session", "forecast", "actual"):
        table.add_column(name, justify="right" if name in ("forecast", "actual") else "left")
    for row in rows:
        actual = f"{row['actual']:.2f}" if row["actual"] is not None else "no bar yet"
        table.add_row(
            row["ticker"],
            str(row["run_date"]),
            row["horizon"].replace("_", " "),
            str(row["target_session"]),
            f"{row['pred']:.2f}",
            actual,
        )
    console.print(table)


def print_filled(console: Console, rows: list[dict[str, Any]], until: date) -> None:
    """Show what a fill did."""
    if not rows:
        console.print(f"There are no forecasts to fill up to {until}.")
        return
    table = Table(title=f"Filled up to {until}: next day / next Monday / one month")
    for name in ("ticker", "filled", "still open", "due without a bar"):
        table.add_column(name)
    for row in rows:
        table.add_row(row["ticker"], *(_horizons(row, state) for state in ("filled", "open", "without_bar")))
    console.print(table)


def _horizons(row: dict[str, Any], state: str) -> str:
    counts = [row[f"num_{state}_{horizon}"] for horizon in ("next_day", "next_monday", "one_month")]
    return " / ".join(str(count) for count in counts)
