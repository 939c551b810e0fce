"""`ldtm replay`: recomputes a forecast on record and compares it."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, NOTHING, AsJson, OfSimulation, console, date_of, print_json, ready_project
from ldtm_cli.tables import rows_table
from ldtm_lib.wording import moment_text

if TYPE_CHECKING:
    from ldtm_lib.audit.replay import FieldComparison, RecordedValue, Replay

SHOWN_DIGITS = 16


def replay(
    ticker: Annotated[str, typer.Argument(help="The ticker of the row.")],
    run_date: Annotated[
        date, typer.Argument(parser=date_of, metavar="run_date", help="Its run date, such as 2026-11-20.")
    ],
    simulation: OfSimulation = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a forecast on record from the bars and the network of its run date.

    Exit status 1 if any value differs, or if the forecast cannot be recomputed; the message gives the reason.
    """
    from ldtm_lib.audit.replay import replay as replay_forecast
    from ldtm_lib.ledger.simulations import simulation_of_row
    from ldtm_lib.registry.exports import export_folder
    from ldtm_lib.sessions import exchange_calendar

    project = ready_project()
    with project.database.transaction() as conn:
        found = replay_forecast(
            conn,
            ticker,
            run_date,
            simulation_of_row(conn, ticker, run_date, simulation),
            folder=project.checkpoint_folder,
            settings=project.settings,
            calendar=exchange_calendar(),
            exports=export_folder(project),
        )
    print_json(found.as_dict()) if as_json else print_replay(console, found)
    if not found.is_equal:
        raise typer.Exit(EXIT_FAILED)


def print_replay(console: Console, found: "Replay") -> None:
    """Print every recomputed value, then the verdict."""
    from ldtm_lib.ledger.simulations import RowKind

    row = found.row
    kind = RowKind(kind=row.kind, simulation_id=row.simulation_id).name
    table = rows_table(f"{row.ticker} on {row.run_date}, {kind}, recorded {row.recorded_at:%Y-%m-%d %H:%M} UTC")
    table.add_column("value", no_wrap=True)
    for name in ("on record", "recomputed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for compared in found.comparisons:
        table.add_row(
            _label(compared.what),
            _shown(compared.on_record),
            _shown(compared.recomputed),
            _verdict(compared),
        )
    console.print(table)
    console.print()
    if found.left_out:
        console.print(escape(found.left_out) + ".", highlight=False)
    if row.backend not in (None, "torch"):
        console.print(f"The network was computed by {row.backend}, as on record.", highlight=False)
    console.print(_summary(found), highlight=False)


def _label(field: str) -> str:
    """Name a field of a row as people read it: `next_day_low_80` as `next day, 80% low`."""
    from ldtm_lib.sessions import HORIZON_NAMES

    for horizon, name in HORIZON_NAMES.items():
        if (part := field.removeprefix(f"{horizon}_")) == field:
            continue
        side, _, level = part.partition("_")
        parts = {"pred": "forecast", "session": "target"}
        return f"{name}, {level}% {side}" if level else f"{name}, {parts.get(part, part)}"
    names = {
        "direction_pred": "direction",
        "run_date_close": "close of the run date",
        "window_sha256": "window made from bars",
    }
    return names.get(field, field.replace("_", " "))


def _summary(found: "Replay") -> str:
    if found.is_equal:
        return "[green]equal[/]" + (", to the bit" if found.is_equal_to_the_bit else ", to within float32's rounding")
    names = "; ".join(_label(compared.what) for compared in found.differences)
    return f"[red]differs[/] in {names}"


def _verdict(compared: "FieldComparison") -> str:
    if compared.is_same:
        return "equal" if compared.on_record == compared.recomputed else "equal but for rounding"
    return "[red]differs[/]" + (f": {escape(compared.remark)}" if compared.remark else "")


def _shown(value: "RecordedValue") -> str:
    """Format a value: a number to seven digits, a SHA-256 shortened. The verdict next to it compares all digits."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, float):
        return f"{value:.7g}"
    text = str(value)
    return escape(f"{text[:SHOWN_DIGITS]}..." if len(text) == 64 and " " not in text else text)
