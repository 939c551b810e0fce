"""`ldtm leaderboard`: the ranks of the tickers, the network against baselines, and the shadow forecasts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ldtm_cli.comparison import comparisons_as_dict, print_comparison, print_ticker_comparisons
from ldtm_cli.interval_table import intervals_as_dicts, print_intervals
from ldtm_cli.invocation import NOTHING, AsJson, console, print_json, ready_project
from ldtm_cli.tables import rows_table
from ldtm_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from ldtm_lib.database.connection import Connection
    from ldtm_lib.ledger.baselines import ComparisonBoard
    from ldtm_lib.ledger.interval_scores import IntervalScore
    from ldtm_lib.ledger.leaderboard import Leaderboard, LeaderboardRow, Score
    from ldtm_lib.ledger.shadows import ShadowRecord
    from ldtm_lib.ledger.simulations import RowKind, Simulation
    from ldtm_lib.project import Project

WIDTH_WITH_RANKS = 85
"""Columns from which on a terminal shows the ranks in addition to their intervals."""


def leaderboard(
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Count the rows of the newest simulation instead of live ones.")
    ] = False,
    simulation: Annotated[
        int | None, typer.Option("--simulation", metavar="N", help="Count the rows of simulation N.", min=1)
    ] = None,
    late: Annotated[
        bool, typer.Option("--late", help="Count late rows, recorded after the next open, instead of live ones.")
    ] = False,
    shadows: Annotated[
        bool, typer.Option("--shadows", help="Show forecasts of models that are not in use instead; these never count.")
    ] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Show the network against its baselines by ticker instead of the ranks.")
    ] = False,
    backtests: Annotated[
        bool,
        typer.Option("--backtests", help="Like --baselines, on the test sessions of each ticker's newest backtest."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rank tickers over their last 30 filled sessions, and compare the network with baselines; live rows by default."""
    if backtests and (simulated or simulation is not None or shadows or late):
        raise ConfigurationError(
            "--backtests cannot be combined with --simulated, --simulation, --late or --shadows: it shows "
            "backtests, not recorded forecasts"
        )
    if baselines and shadows:
        raise ConfigurationError("--baselines cannot be combined with --shadows; give one of them")
    if late and (simulated or simulation is not None or shadows):
        raise ConfigurationError(
            "--late cannot be combined with --simulated, --simulation or --shadows; give one of them"
        )
    project, is_simulated = ready_project(), simulated or simulation is not None
    if backtests:
        show_backtests(project, as_json=as_json)
    elif baselines:
        show_baselines(project, simulated=is_simulated, simulation=simulation, late=late, as_json=as_json)
    elif shadows:
        show_shadows(project, simulated=is_simulated, simulation=simulation, as_json=as_json)
    else:
        show_leaderboard(project, simulated=is_simulated, simulation=simulation, late=late, as_json=as_json)


def show_leaderboard(
    project: "Project", *, simulated: bool, simulation: int | None = None, late: bool = False, as_json: bool
) -> None:
    """Print the leaderboard over live rows, over late ones, or over those of a simulation, by default the newest."""
    from ldtm_lib.ledger.baselines import backtest_comparisons, comparisons
    from ldtm_lib.ledger.interval_scores import interval_scores
    from ldtm_lib.ledger.leaderboard import leaderboard
    from ldtm_lib.ledger.simulations import LATE

    with project.database.transaction() as conn:
        rows, known = _rows(conn, simulated=simulated, simulation=simulation)
        rows = LATE if late else rows
        board, compared, intervals = leaderboard(conn, rows), comparisons(conn, rows), interval_scores(conn, rows)
        tested = backtest_comparisons(conn) if compared.universe is None else None
    if as_json:
        print_json(leaderboard_as_dict(board, compared, intervals))
        return
    print_leaderboard(console, board, rows, compared, intervals)
    if tested is not None and tested.universe is not None:
        print_comparison(console, tested, of="backtests")
    if simulated and known:
        print_simulations(console, known, rows)


def show_baselines(
    project: "Project", *, simulated: bool, simulation: int | None = None, late: bool = False, as_json: bool
) -> None:
    """Print the network against its baselines for every ticker, on the rows that the leaderboard counts."""
    from ldtm_lib.ledger.baselines import comparisons
    from ldtm_lib.ledger.simulations import LATE

    with project.database.transaction() as conn:
        rows, _ = _rows(conn, simulated=simulated, simulation=simulation)
        rows = LATE if late else rows
        board = comparisons(conn, rows)
    if as_json:
        print_json(comparisons_as_dict(board))
    elif board.universe is None:
        console.print(f"No {rows.kind} forecast that has baselines has been filled yet; --backtests shows backtests.")
    else:
        print_ticker_comparisons(console, board, of=f"{rows.kind} forecasts")


def show_backtests(project: "Project", *, as_json: bool) -> None:
    """Print the network against its baselines for every ticker, on the test sessions of its newest backtest."""
    from ldtm_lib.ledger.baselines import backtest_comparisons

    with project.database.transaction() as conn:
        board = backtest_comparisons(conn)
    if as_json:
        print_json(comparisons_as_dict(board))
    elif board.universe is None:
        console.print("No backtest has baseline scores yet; the next training records them (`ldtm train`).")
    else:
        print_ticker_comparisons(console, board, of="backtests")


def show_shadows(project: "Project", *, simulated: bool, simulation: int | None = None, as_json: bool) -> None:
    """Print the shadows of live rows, or of the rows of a simulation."""
    from ldtm_lib.ledger.shadows import shadow_records

    with project.database.transaction() as conn:
        rows, _ = _rows(conn, simulated=simulated, simulation=simulation)
        records = shadow_records(conn, rows)
    print_json(shadows_as_dicts(records)) if as_json else print_shadows(console, records, rows)


def _rows(conn: "Connection", *, simulated: bool, simulation: int | None) -> "tuple[RowKind, Sequence[Simulation]]":
    """Return the kind of rows to show and, for simulated rows, every simulation on record, newest first."""
    from ldtm_lib.ledger.simulations import LIVE, newest_simulation, require_simulation, simulations

    if not simulated:
        return LIVE, ()
    known = simulations(conn)
    return newest_simulation(conn) if simulation is None else require_simulation(known, simulation).rows, known


def print_simulations(console: Console, known: "Sequence[Simulation]", rows: "RowKind") -> None:
    """Print which simulation is shown, how its models were trained, and how many simulations there are."""
    shown = next((each for each in known if each.simulation_id == rows.simulation_id), None)
    if shown is None:
        return
    models = (
        f"models of its own, trained before their sessions and again every {shown.retrain_every} sessions"
        if shown.retrain_every
        else "models of the registry that were trained before the sessions"
    )
    others = f"; --simulation N shows another one of {len(known)}" if len(known) > 1 else ""
    console.print(
        f"\nSimulation {shown.simulation_id} of {len(known)}, begun {shown.started_at:%Y-%m-%d}, with {models}{others}."
        " Simulated rows never count as live ones.",
        style="dim",
        highlight=False,
    )


def leaderboard_as_dict(
    board: "Leaderboard", compared: "ComparisonBoard", intervals: "Sequence[IntervalScore]"
) -> dict[str, object]:
    """The leaderboard for JSON."""
    return {
        **asdict(board),
        "baselines": comparisons_as_dict(compared),
        "intervals": intervals_as_dicts(intervals),
    }


def print_leaderboard(
    console: Console,
    board: "Leaderboard",
    rows: "RowKind",
    compared: "ComparisonBoard",
    intervals: "Sequence[IntervalScore]",
) -> None:
    """Print the ranks with their uncertainty, the network against baselines, the intervals, and the gate."""
    if not any(row.score.num_filled for row in board.rows):
        console.print(f"No {rows.kind} forecast has been filled yet.")
        if rows.kind == "live":
            console.print("Live ones are recorded after the close of a session; --simulated shows simulated ones.")
        return
    console.print(_scores(board, rows, with_ranks=console.width >= WIDTH_WITH_RANKS))
    console.print(
        "\n[dim]Counted are each ticker's newest run dates with filled actuals. Tickers are ranked by the lower end of "
        "the confidence interval of their direction accuracy. Rank 95% CI: simultaneous confidence intervals of the "
        "ranks by accuracy. Share called: share of the forecasts that named a direction. Errors: mean absolute error "
        "in percent of the actual price, model / no change. After most Friday closes, next day and next Monday are the "
        "same session, which the network forecasts with two heads.[/]\n"
    )
    print_comparison(console, compared, of=f"{rows.kind} forecasts", num_counted=board.universe.num_filled)
    print_intervals(console, intervals, of=f"{rows.kind} forecasts")
    console.print(_gate(board, rows))


def shadows_as_dicts(records: "Sequence[ShadowRecord]") -> list[dict[str, object]]:
    """The shadows for JSON; they never count."""
    return [{**asdict(record), "counts": False} for record in records]


def print_shadows(console: Console, records: "Sequence[ShadowRecord]", rows: "RowKind") -> None:
    """Print the forecasts of models that are not in use, with those on record on the same run dates."""
    kind = rows.kind
    if not records:
        console.print(f"No shadow forecast is recorded for a {kind} forecast.")
        console.print("Daily runs record shadows if [forecast] shadows is candidate, retired or both.", markup=False)
        return
    title = f"Shadow forecasts, which never count, beside {kind} rows"
    table = rows_table(title, is_dense=True)
    for name in ("ticker", "model,\nstatus now"):
        table.add_column(name, no_wrap=True)
    for name in (
        "filled",
        "direction\nright",
        "95% CI",
        "share\ncalled",
        "next day\nerror %",
        "shadow /\nrecord %",
        "run\ndates",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        right, interval, cover, next_day, *_ = _figures(record.score)
        beside = _error(record.error_beside, record.error_on_record)
        filled, on = str(record.score.num_filled), str(record.num_beside)
        model = f"{record.name}\n{record.status}"
        table.add_row(record.ticker, model, filled, right, interval, cover, next_day, beside, on)
    console.print(table)
    console.print(
        "\n[dim]Forecasts of models that are not in use. No rank, accuracy, seal or verdict counts them. Next day "
        "error: mean absolute error in percent of the actual price, model / no change. Shadow / record: error of the "
        "shadow / error of the forecasts on record, over the run dates on which another model made the recorded "
        "forecast. Run dates: their number.[/]"
    )


def _scores(board: "Leaderboard", rows: "RowKind", *, with_ranks: bool) -> Table:
    """Return the table of the tickers in the order of their ranks; in 80 columns there is no room for the numbers."""
    first, last = board.universe.first_run_date, board.universe.last_run_date
    table = rows_table(f"Leaderboard, {rows.kind}: {first} to {last}, at most 30 sessions a ticker", is_dense=True)
    if with_ranks:
        table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("rank\n95% CI", justify="right", no_wrap=True)
    table.add_column("ticker", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for name in (
        *("direction\nright", "95% CI", "share\ncalled"),
        *("next day\nerror %", "next Mon.\nerror %", "one month\nerror %"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.rows:
        rank = [str(row.rank or NOTHING)] if with_ranks else []
        table.add_row(*rank, _ranks(row), row.ticker, row.model_status or "abstained", *_figures(row.score))
    table.add_section()
    table.add_row(*[""] * with_ranks, "", "all", "", *_figures(board.universe))
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
    """Format with two decimals below 10 and fewer above, so that all columns fit in 80 characters."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _accuracy(num_correct: int, num_directional: int) -> str:
    share = f"{num_correct / num_directional:.0%}"
    # There is no room for two numbers of four digits, as a whole universe has.
    return f"{num_correct}/{num_directional} {share}" if num_directional < 1000 else f"{share} of {num_directional}"


def _gate(board: "Leaderboard", rows: "RowKind") -> Table:
    table = rows_table("Verdicts of the gate on the newest networks; an active model stays active if they are refused")
    table.add_column("ticker")
    table.add_column("verdict")
    table.add_column("why")
    for row in sorted(board.rows, key=lambda row: row.ticker):
        table.add_row(row.ticker, _verdict(row), _reasons(row, rows))
    return table


def _verdict(row: "LeaderboardRow") -> Text:
    if row.gate_passed is None:
        return Text("not judged", style="dim")
    return Text("passed", style="green") if row.gate_passed else Text("refused", style="red")


def _reasons(row: "LeaderboardRow", rows: "RowKind") -> str:
    if row.gate_passed:
        return "every rule passed" + (f": {row.active_version} is active" if rows.kind != "simulated" else "")
    return ";\n".join(row.gate_reasons) or NOTHING
