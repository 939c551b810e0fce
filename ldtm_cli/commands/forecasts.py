"""`ldtm forecasts`: shows the recorded forecasts of a run date or of a ticker."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import NOTHING, AsJson, console, print_json, ready_project
from ldtm_cli.tables import rows_table
from ldtm_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from ldtm_lib.ledger.recorded_forecasts import RecordedForecast


def forecasts(
    about: Annotated[
        str | None,
        typer.Argument(metavar="DATE|TICKER", help="A run date such as 2026-11-20, or a ticker."),
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    horizon: Annotated[
        Literal["next-day", "next-monday", "one-month"] | None,
        typer.Option(
            metavar="HORIZON",
            help="Show the forecast of one horizon with its 80% and 95% intervals: next-day, next-monday or one-month.",
        ),
    ] = None,
) -> None:
    """Show forecasts on record: three prices, target sessions, direction, model, and whether they are live.

    With DATE: all tickers of that run date. With TICKER: its newest 30 run dates. Default: the newest run date.
    JSON and CSV hold every field, the prediction intervals of all horizons included.
    """
    from ldtm_lib.ledger.recorded_forecasts import forecasts_of_run_date, forecasts_of_ticker

    if as_json and as_csv:
        raise ConfigurationError("--json and --csv exclude each other; give one of them")
    if horizon is not None and (as_json or as_csv):
        raise ConfigurationError("--json and --csv hold all horizons; leave out --horizon")
    project = ready_project()
    run_date = _date(about)
    ticker = project.settings.require_ticker(about) if about is not None and run_date is None else None
    with project.database.transaction() as conn:
        rows = forecasts_of_run_date(conn, run_date) if ticker is None else forecasts_of_ticker(conn, ticker)
    if as_json:
        print_json([asdict(row) for row in rows])
    elif as_csv:
        print_csv(rows)
    elif not rows:
        about_whom = "" if about is None else f" of {about}"
        console.print(f"No forecast{about_whom} is on record. `ldtm status` shows what is pending.", highlight=False)
    elif horizon is not None:
        print_intervals(console, rows, horizon.replace("-", "_"), of_ticker=ticker is not None)
    elif ticker is None:
        print_run_date(console, rows)
    else:
        print_ticker(console, rows)


def print_csv(rows: "Sequence[RecordedForecast]") -> None:
    """Print a header with the field names, then one line per row."""
    from ldtm_lib.ledger.recorded_forecasts import RecordedForecast

    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(RecordedForecast)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)


def print_run_date(console: Console, rows: "Sequence[RecordedForecast]") -> None:
    """Print all tickers of one run date, with one column per target session."""
    from ldtm_lib.daily_run.pending_partitions import NEW_YORK

    first = rows[0]
    deadline = first.deadline.astimezone(NEW_YORK)
    title = f"Forecasts of {first.run_date}; live if recorded before {deadline:%Y-%m-%d %H:%M} New York"
    table = rows_table(title, is_dense=True)
    table.add_column("ticker")
    table.add_column("close", justify="right")
    targets = {
        "next day": first.next_day_session,
        "Monday": first.next_monday_session,
        "one month": first.one_month_session,
    }
    for name, session in targets.items():
        table.add_column(f"{name}\n{session:%a %m-%d}", justify="right")
    for name in ("direction", "kind", "model"):
        table.add_column(name)
    for row in rows:
        table.add_row(row.ticker, *_cells(row))
    console.print(table)
    _print_abstentions(console, rows, of_ticker=False)
    if first.next_day_session == first.next_monday_session and all(row.abstained_reason is None for row in rows):
        console.print()
    if first.next_day_session == first.next_monday_session:
        from ldtm_lib.ledger.recorded_forecasts import SAME_SESSION

        console.print(SAME_SESSION, highlight=False)


def print_ticker(console: Console, rows: "Sequence[RecordedForecast]") -> None:
    """Print the newest run dates of one ticker."""
    title = f"Forecasts of {rows[0].ticker}; --json and --csv add target sessions and actuals"
    table = rows_table(title, is_dense=True)
    table.add_column("run date")
    for name in ("close", "next day", "Monday", "month"):
        table.add_column(name, justify="right")
    for name in ("direction", "kind", "model"):
        table.add_column(name)
    for row in rows:
        table.add_row(str(row.run_date), *_cells(row))
    console.print(table)
    _print_abstentions(console, rows, of_ticker=True)


def print_intervals(console: Console, rows: "Sequence[RecordedForecast]", horizon: str, *, of_ticker: bool) -> None:
    """Print the forecasts of one horizon with their intervals: all tickers of a run date, or run dates of a ticker."""
    from ldtm_lib.sessions import HORIZON_NAMES

    subject = rows[0].ticker if of_ticker else str(rows[0].run_date)
    title = f"Forecasts of {subject}, {HORIZON_NAMES[horizon]}, with 80% and 95% intervals"
    table = rows_table(title)
    table.add_column("run date" if of_ticker else "ticker")
    table.add_column("target")
    for name in ("close", "forecast", "80%", "95%"):
        table.add_column(name, justify="right")
    table.add_column("kind")
    for row in rows:
        price = getattr(row, f"{horizon}_pred")
        table.add_row(
            str(row.run_date) if of_ticker else row.ticker,
            f"{getattr(row, f'{horizon}_session'):%a %m-%d}",
            *(NOTHING if each is None else f"{each:.2f}" for each in (row.run_date_close, price)),
            *(_interval(row.interval(horizon, percent)) for percent in (80, 95)),
            _kind(row),
        )
    console.print(table)
    _print_abstentions(console, rows, of_ticker=of_ticker)
    if any(row.abstained_reason is None and row.interval(horizon, 95) is None for row in rows):
        console.print(
            f"\n{NOTHING}: no interval, since too few outcomes are known or no finite interval reaches the level.",
            highlight=False,
        )


def _print_abstentions(console: Console, rows: "Sequence[RecordedForecast]", *, of_ticker: bool) -> None:
    abstained = [row for row in rows if row.abstained_reason is not None]
    if abstained:
        console.print()
    for row in abstained:
        what = f"abstained on {row.run_date}" if of_ticker else f"{escape(row.ticker)} abstained"
        console.print(f"{what}: {escape(row.abstained_reason or '')}", highlight=False)


def _interval(ends: tuple[float, float] | None) -> str:
    return NOTHING if ends is None else f"{ends[0]:.2f}-{ends[1]:.2f}"


def _kind(row: "RecordedForecast") -> str:
    return f"{row.kind} {row.simulation_id}" if row.simulation_id else row.kind


def _cells(row: "RecordedForecast") -> tuple[str, ...]:
    prices = (row.run_date_close, row.next_day_pred, row.next_monday_pred, row.one_month_pred)
    model = row.model_version or row.model_status or NOTHING
    return (
        *(NOTHING if price is None else f"{price:.2f}" for price in prices),
        row.direction_pred or "abstained",
        _kind(row),
        escape(model),
    )


def _date(text: str | None) -> date | None:
    """Parse a run date; None if the text is not a date, or absent."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        return None
