"""`ldtm leaderboard`: the ranks of the tickers, and the shadow forecasts beside them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ldtm_cli.invocation import NOTHING, AsJson, console, print_json, ready_project
from ldtm_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from ldtm_lib.ledger.leaderboard import Leaderboard, LeaderboardRow, Score
    from ldtm_lib.ledger.shadows import ShadowRecord
    from ldtm_lib.project import Project


def leaderboard(
    simulated: Annotated[bool, typer.Option("--simulated", help="Count simulated rows instead of live ones.")] = False,
    late: Annotated[
        bool, typer.Option("--late", help="Count late rows instead of live ones: recorded after the next open.")
    ] = False,
    shadows: Annotated[
        bool, typer.Option("--shadows", help="Show forecasts of models that are not in use instead; these never count.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show who was right over the last 30 filled sessions: live rows by default."""
    if late and (simulated or shadows):
        raise ConfigurationError("--late excludes --simulated and --shadows; give one of them")
    if shadows:
        show_shadows(ready_project(), simulated=simulated, as_json=as_json)
    else:
        show_leaderboard(ready_project(), simulated=simulated, late=late, as_json=as_json)


def show_leaderboard(project: "Project", *, simulated: bool, as_json: bool, late: bool = False) -> None:
    """Print the leaderboard over live rows, or over simulated or late ones."""
    from ldtm_lib.ledger.leaderboard import leaderboard

    with project.database.transaction() as conn:
        board = leaderboard(conn, simulated=simulated, late=late)
    kind = "simulated" if simulated else "late" if late else "live"
    print_json(leaderboard_as_dict(board)) if as_json else print_leaderboard(console, board, kind=kind)


def show_shadows(project: "Project", *, simulated: bool, as_json: bool) -> None:
    """Print the shadows beside live rows, or beside simulated ones."""
    from ldtm_lib.ledger.shadows import shadow_records

    with project.database.transaction() as conn:
        records = shadow_records(conn, simulated=simulated)
    print_json(shadows_as_dicts(records)) if as_json else print_shadows(console, records, simulated=simulated)


def leaderboard_as_dict(board: "Leaderboard") -> dict[str, object]:
    """The leaderboard for JSON."""
    return asdict(board)


def print_leaderboard(console: Console, board: "Leaderboard", *, kind: str) -> None:
    """Show the ranks with their uncertainty, and below them what the gate said."""
    if not any(row.score.num_filled for row in board.rows):
        console.print(f"No {kind} forecast has been filled yet.")
        if kind == "live":
            console.print("Live ones are recorded after the close of a session; --simulated shows those of a backfill.")
        return
    console.print(_scores(board, kind))
    console.print(
        "\n[dim]#: by the lower end of the accuracy's interval. Rank 95%: the ranks by accuracy itself that luck "
        "leaves possible, for all tickers at once. Right-hand columns: mean absolute error in percent of the price "
        "that came / the error of forecasting no change. Cover: the share of forecasts that named a direction. "
        "Before a weekend, next day and next Monday are mostly the same session, forecast by two heads at two "
        "prices.[/]\n"
    )
    console.print(_gate(board))


def shadows_as_dicts(records: "Sequence[ShadowRecord]") -> list[dict[str, object]]:
    """The shadows for JSON; what they did counts nowhere."""
    return [{**asdict(record), "counts": False} for record in records]


def print_shadows(console: Console, records: "Sequence[ShadowRecord]", *, simulated: bool) -> None:
    """Show the forecasts of models that are not in use, beside those on record on the same run dates."""
    kind = "simulated" if simulated else "live"
    if not records:
        console.print(f"No shadow stands beside a {kind} forecast.")
        console.print("Daily runs record shadows if [forecast] shadows is candidate, retired or both.", markup=False)
        return
    title = f"Shadows beside {kind} rows: they never count"
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    for name in ("ticker", "model,\nwhat it is now"):
        table.add_column(name, no_wrap=True)
    for name in ("fil-\nled", "direction\nright", "its\n95%", "cov-\ner", "next\nday", "beside\nrecord", "on"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        right, interval, cover, next_day, *_ = _figures(record.score)
        beside = _error(record.error_beside, record.error_on_record)
        filled, on = str(record.score.num_filled), str(record.num_beside)
        model = f"{record.name}\n{record.status}"
        table.add_row(record.ticker, model, filled, right, interval, cover, next_day, beside, on)
    console.print(table)
    console.print(
        "\n[dim]Forecasts of models that are not in use. No rank, accuracy, seal or verdict counts it. Next "
        "day: mean absolute error in percent / that of forecasting no change. Beside record: the same / that of "
        "the forecasts on record, over the run dates (on) that have one of another model.[/]"
    )


def _scores(board: "Leaderboard", kind: str) -> Table:
    first, last = board.universe.first_run_date, board.universe.last_run_date
    table = Table(
        title=f"Leaderboard: last 30 filled sessions, {kind} forecasts of {first} to {last}",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        pad_edge=False,
    )
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("rank\n95%", justify="right", no_wrap=True)
    table.add_column("ticker", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for name in ("direction\nright", "its\n95%", "cov-\ner", "next\nday", "next\nMonday", "one\nmonth"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.rows:
        table.add_row(
            str(row.rank or NOTHING), _ranks(row), row.ticker, row.model_status or "abstained", *_figures(row.score)
        )
    table.add_section()
    table.add_row("", "", "all", "", *_figures(board.universe))
    return table


def _ranks(row: "LeaderboardRow") -> str:
    return NOTHING if row.rank_low is None else f"{row.rank_low}–{row.rank_high}"


def _figures(score: "Score") -> list[str]:
    if not score.num_filled:
        return [NOTHING] * 6
    accuracy = interval = NOTHING
    if score.direction_accuracy is not None and score.accuracy_low is not None and score.accuracy_high is not None:
        accuracy = _accuracy(score.num_correct, score.num_directional)
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
    return f"{_three_digits(ours)}/{_three_digits(no_change)}"


def _three_digits(value: float) -> str:
    """Two decimals below 10, fewer above: that is as much as fits beside the others in 80 columns."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _accuracy(num_correct: int, num_directional: int) -> str:
    share = f"{num_correct / num_directional:.0%}"
    # A whole universe's two numbers of four digits have no room.
    return f"{num_correct}/{num_directional} {share}" if num_directional < 1000 else f"{share} of {num_directional}"


def _gate(board: "Leaderboard") -> Table:
    table = Table(title="The gate", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("ticker")
    table.add_column("verdict")
    table.add_column("why")
    for row in sorted(board.rows, key=lambda row: row.ticker):
        table.add_row(row.ticker, _verdict(row), _reasons(row))
    return table


def _verdict(row: "LeaderboardRow") -> Text:
    if row.gate_passed is None:
        return Text("never judged", style="dim")
    return Text("let through", style="green") if row.gate_passed else Text("refused", style="red")


def _reasons(row: "LeaderboardRow") -> str:
    if row.gate_passed:
        return f"every rule passed: {row.active_version} is active"
    return "\n".join(row.gate_reasons) or NOTHING
