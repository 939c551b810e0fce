"""A replay in a terminal: what is on record, what came out again, and whether it is the same."""

from datetime import date, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_lib.audit.replay import FieldComparison, RecordedValue, Replay, replay
from ldtm_lib.project import Project
from ldtm_lib.sessions import exchange_calendar

NOTHING = "–"
SHOWN_DIGITS = 16


def replay_now(project: Project, ticker: str, run_date: date) -> Replay:
    """Compute one row of the ledger again."""
    with project.database.transaction() as conn:
        return replay(
            conn,
            ticker,
            run_date,
            folder=project.checkpoint_folder,
            settings=project.settings,
            calendar=exchange_calendar(),
        )


def print_replay(console: Console, found: Replay) -> None:
    """Show every value that was computed again, then the verdict."""
    row = found.row
    table = Table(title=f"{row.ticker} on {row.run_date}, {row.kind}, recorded {row.recorded_at:%Y-%m-%d %H:%M} UTC")
    for name in ("what", "on record", "recomputed", "verdict"):
        table.add_column(name, justify="right" if name in ("on record", "recomputed") else "left")
    for compared in found.comparisons:
        table.add_row(
            compared.what.replace("_", " "),
            _shown(compared.on_record),
            _shown(compared.recomputed),
            _verdict(compared),
        )
    console.print(table)
    if found.left_out:
        console.print(escape(found.left_out) + ".", highlight=False)
    console.print(_summary(found), highlight=False)


def _summary(found: Replay) -> str:
    if found.is_equal:
        return "[green]equal[/]" + (", to the bit" if found.is_equal_to_the_bit else ", to within float32's rounding")
    names = ", ".join(compared.what.replace("_", " ") for compared in found.differences)
    return f"[red]differs[/] in {names}"


def _verdict(compared: FieldComparison) -> str:
    if compared.is_same:
        return "equal" if compared.on_record == compared.recomputed else "equal but for rounding"
    return "[red]differs[/]" + (f": {escape(compared.remark)}" if compared.remark else "")


def _shown(value: RecordedValue) -> str:
    """A value at full length, but for the digits of a SHA-256."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    if isinstance(value, float):
        return repr(value)
    text = str(value)
    return escape(f"{text[:SHOWN_DIGITS]}..." if len(text) == 64 and " " not in text else text)
