"""The leaderboard in a terminal and as JSON."""

from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ldtm_lib.ledger.leaderboard import Leaderboard, Score, Standing, leaderboard
from ldtm_lib.project import Project

NOTHING = "–"


def read(project: Project, simulated: bool) -> Leaderboard:
    """The leaderboard over live rows, or over simulated ones."""
    with project.database.transaction() as conn:
        return leaderboard(conn, simulated=simulated)


def leaderboard_as_dict(board: Leaderboard) -> dict[str, object]:
    """The leaderboard for JSON."""
    return asdict(board)


def print_leaderboard(console: Console, board: Leaderboard, *, simulated: bool) -> None:
    """Show the ranks with their uncertainty, and below them what the gate said."""
    if not any(row.score.num_filled for row in board.rows):
        kind = "simulated" if simulated else "live"
        console.print(f"No {kind} forecast has been filled yet.")
        if not simulated:
            console.print("Live ones are recorded on the evening of a session; --simulated shows those of a backfill.")
        return
    console.print(_scores(board, simulated))
    console.print(
        "[dim]Right-hand columns: mean absolute error in percent of the price that came / the error of forecasting no "
        "change. Coverage: the share of forecasts that named a direction.[/]\n"
    )
    console.print(_gate(board))


def _scores(board: Leaderboard, simulated: bool) -> Table:
    first, last = board.universe.first_run_date, board.universe.last_run_date
    what = "simulated" if simulated else "live"
    table = Table(
        title=f"Leaderboard: last 30 filled sessions, {what} forecasts of {first} to {last}",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("ticker", no_wrap=True)
    table.add_column("spoke as", no_wrap=True)
    for name in ("direction\nright", "95%\ninterval", "cover-\nage", "next\nday", "next\nMonday", "one\nmonth"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.rows:
        table.add_row(str(row.rank or NOTHING), row.ticker, row.model_status or "abstained", *_figures(row.score))
    table.add_section()
    table.add_row("", "all", "", *_figures(board.universe))
    return table


def _figures(score: Score) -> list[str]:
    if not score.num_filled:
        return [NOTHING] * 6
    accuracy = interval = NOTHING
    if score.direction_accuracy is not None and score.accuracy_low is not None and score.accuracy_high is not None:
        accuracy = f"{score.num_correct}/{score.num_directional} {score.direction_accuracy:.0%}"
        interval = f"{100 * score.accuracy_low:.0f}–{100 * score.accuracy_high:.0f}"
    return [
        accuracy,
        interval,
        NOTHING if score.coverage is None else f"{score.coverage:.0%}",
        _error(score.next_day_error, score.next_day_no_change_error),
        _error(score.next_monday_error, score.next_monday_no_change_error),
        _error(score.one_month_error, score.one_month_no_change_error),
    ]


def _error(ours: float | None, no_change: float | None) -> str:
    if ours is None or no_change is None:
        return NOTHING
    return f"{ours:.2f}/{no_change:.2f}"


def _gate(board: Leaderboard) -> Table:
    table = Table(title="The gate", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("ticker")
    table.add_column("verdict")
    table.add_column("why")
    for row in sorted(board.rows, key=lambda standing: standing.ticker):
        table.add_row(row.ticker, _verdict(row), _reasons(row))
    return table


def _verdict(row: Standing) -> Text:
    if row.gate_passed is None:
        return Text("never judged", style="dim")
    return Text("let through", style="green") if row.gate_passed else Text("refused", style="red")


def _reasons(row: Standing) -> str:
    if row.gate_passed:
        return f"every rule passed: {row.active_version} is active"
    return "\n".join(row.gate_reasons) or NOTHING
