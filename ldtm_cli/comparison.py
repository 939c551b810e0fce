"""The network against its baselines, as tables of 80 columns and for JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ldtm_cli.invocation import NOTHING
from ldtm_cli.tables import rows_table
from ldtm_lib.wording import counted

if TYPE_CHECKING:
    from ldtm_lib.baselines.scores import BestConstant, Comparison, ModelScore
    from ldtm_lib.ledger.baselines import ComparisonBoard

EXPLAINED = (
    "Error: mean absolute error in percent of the actual price. Ratio: error divided by that of no change; below 1 it "
    "is smaller. Drift, AR(1) and ridge were fitted on the training rows of each network. Always up or down: the one "
    "that was right more often on the rows for which the network named a direction, which is known only afterwards."
)


def comparisons_as_dict(board: "ComparisonBoard") -> dict[str, object]:
    """The comparisons for JSON: of the universe and of each ticker, with what is better than the network."""
    return {
        "universe": None if board.universe is None else comparison_as_dict(board.universe),
        "tickers": [comparison_as_dict(comparison) for comparison in board.tickers],
    }


def comparison_as_dict(comparison: "Comparison") -> dict[str, object]:
    """One comparison for JSON."""
    no_change, best = comparison.baselines[0], comparison.best_constant
    return {
        "ticker": comparison.ticker,
        "first_session": comparison.first_session,
        "last_session": comparison.last_session,
        "verdict": comparison.verdict,
        "network": _score_as_dict(comparison.network, no_change),
        "baselines": [
            {**_score_as_dict(score, no_change), "better_than_network": comparison.better_than_network(score)}
            for score in comparison.baselines
        ],
        "best_constant": {
            **asdict(best),
            **_accuracy_as_dict(best),
            "better_than_network": comparison.better_than_network(best),
        },
    }


def print_comparison(console: Console, board: "ComparisonBoard", *, of: str, num_counted: int | None = None) -> None:
    """Show the universe's comparison. `num_counted` are the forecasts of the leaderboard above, if there is one."""
    universe = board.universe
    if universe is None:
        console.print(
            f"Network against baselines: these {of} have no baselines. Baselines are recorded once a training has "
            "fitted them.\n",
            style="dim",
        )
        return
    console.print(_table(universe, _title(board, of, num_counted)))
    console.print(f"\n{universe.verdict}", style="bold yellow" if _is_beaten(universe) else "green", highlight=False)
    console.print(f"[dim]{EXPLAINED}[/]\n", highlight=False)


def print_ticker_comparisons(console: Console, board: "ComparisonBoard", *, of: str) -> None:
    """Print the comparison of every ticker in one table, and the universe's comparison below it."""
    table = rows_table(
        f"Network against baselines by ticker, {of}: next-day error in percent, and share of right directions"
    )
    table.add_column("ticker", no_wrap=True)
    for name in ("network", "no\nchange", "drift", "AR(1)", "ridge"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("direction\nright", justify="right", no_wrap=True)
    table.add_column("always\nup/down", justify="right", no_wrap=True)
    table.add_column("better than the network")
    for comparison in board.tickers:
        table.add_row(*_ticker_row(comparison))
    console.print(table)
    console.print()
    print_comparison(console, board, of=of)


def _ticker_row(comparison: "Comparison") -> list[str]:
    scores = (comparison.network, *comparison.baselines)
    better = [_name(score) for score in comparison.baselines if "next day" in comparison.better_than_network(score)]
    best = comparison.best_constant
    if comparison.better_than_network(best):
        better.append(f"always {best.direction}")
    return [
        comparison.ticker or "all",
        *(NOTHING if score.next_day_error is None else _error(score.next_day_error) for score in scores),
        _share(comparison.network.direction_accuracy),
        _share(best.direction_accuracy),
        f"[bold yellow]{', '.join(better)}[/]" if better else "",
    ]


def _table(comparison: "Comparison", title: str) -> Table:
    table = rows_table(title, is_dense=True)
    table.add_column("", no_wrap=True)
    for name in ("next day\nerror % ratio", "next Monday\nerror % ratio", "one month\nerror % ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("direction\nright", justify="right", no_wrap=True)
    table.add_column("95% CI", justify="right", no_wrap=True)
    table.add_column("better than\nthe network")
    no_change = comparison.baselines[0]
    for score in (comparison.network, *comparison.baselines):
        errors = [_with_ratio(ours, theirs) for ours, theirs in zip(score.errors, no_change.errors, strict=True)]
        table.add_row(_name(score), *errors, *_accuracy(score), _better(comparison, score))
    best = comparison.best_constant
    table.add_row(f"always {best.direction}", *[NOTHING] * 3, *_accuracy(best), _better(comparison, best))
    return table


def _title(board: "ComparisonBoard", of: str, num_counted: int | None) -> str:
    assert board.universe is not None
    num_rows = board.universe.network.num_next_day
    rows = counted(num_rows, "row")
    if num_counted is not None and num_counted != num_rows:
        rows = f"{num_rows:,} of {counted(num_counted, 'row')}"
    tickers = counted(len(board.tickers), "ticker")
    span = f"{board.universe.first_session} to {board.universe.last_session}"
    return f"Network against baselines on the same {rows} of {tickers}, {of} of {span}"


def _name(score: "ModelScore") -> str:
    from ldtm_lib.baselines.scores import NAMES

    return NAMES[score.model]


def _is_beaten(comparison: "Comparison") -> bool:
    return any(comparison.better_than_network(score) for score in comparison.baselines)


def _better(comparison: "Comparison", score: "ModelScore | BestConstant") -> str:
    better = comparison.better_than_network(score)
    return f"[bold yellow]{', '.join(better)}[/]" if better else ""


def _accuracy(score: "ModelScore | BestConstant") -> tuple[str, str]:
    from ldtm_lib.baselines.scores import accuracy_interval

    interval = accuracy_interval(score)
    if interval is None:
        return NOTHING, NOTHING
    share = f"{score.num_correct / score.num_directional:.0%}"
    right = f"{score.num_correct}/{score.num_directional} {share}" if score.num_directional < 1000 else share
    return right, f"{100 * interval.low:.0f}–{100 * interval.high:.0f}"


def _share(accuracy: float | None) -> str:
    return NOTHING if accuracy is None else f"{accuracy:.0%}"


def _with_ratio(error: float | None, no_change: float | None) -> str:
    if error is None:
        return NOTHING
    return f"{_error(error)} {_error(error / no_change)}" if no_change else _error(error)


def _error(value: float) -> str:
    """Three digits below 10, fewer above."""
    return f"{value:.{3 if value < 9.9995 else 2 if value < 99.995 else 1}f}"


def _score_as_dict(score: "ModelScore", no_change: "ModelScore") -> dict[str, object]:
    ratios = {
        f"{horizon}_error_ratio": ours / theirs if ours is not None and theirs else None
        for horizon, ours, theirs in zip(
            ("next_day", "next_monday", "one_month"), score.errors, no_change.errors, strict=True
        )
    }
    return {**asdict(score), **ratios, **_accuracy_as_dict(score)}


def _accuracy_as_dict(score: "ModelScore | BestConstant") -> dict[str, float | None]:
    from ldtm_lib.baselines.scores import accuracy_interval

    interval = accuracy_interval(score)
    return {
        "direction_accuracy": score.direction_accuracy,
        "accuracy_low": interval and interval.low,
        "accuracy_high": interval and interval.high,
    }
