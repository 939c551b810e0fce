"""Coverage and scores of prediction intervals as a table of 80 columns and for JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from ldtm_cli.invocation import NOTHING
from ldtm_cli.tables import rows_table

if TYPE_CHECKING:
    from ldtm_lib.ledger.interval_scores import IntervalScore

EXPLAINED = (
    "Actuals inside: the share should equal the level. Width and interval score: mean, in percent of the close; a "
    "lower score is better. Random walk: one with the volatility of the window. "
    "The confidence interval (95% CI) assumes independent outcomes; for several tickers and for later horizons it is "
    "too narrow."
)


def intervals_as_dicts(scores: "Sequence[IntervalScore]") -> list[dict[str, object]]:
    """The scores for JSON: of every ticker, then of the universe (ticker null)."""
    return [asdict(score) for score in scores]


def print_intervals(console: Console, scores: "Sequence[IntervalScore]", *, of: str) -> None:
    """Show the coverage of the universe's intervals by horizon and level; nothing if no filled forecast has one."""
    from ldtm_lib.sessions import HORIZON_NAMES

    universe = [score for score in scores if score.ticker is None and score.num_intervals]
    if not universe:
        return
    title = f"Prediction intervals, all filled {of}"
    table = rows_table(title)
    table.add_column("horizon", no_wrap=True)
    for name in (
        "level",
        "actuals\ninside",
        "95% CI",
        "mean\nwidth %",
        "width, ratio to\nrandom walk",
        "interval\nscore %",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for score in universe:
        table.add_row(
            HORIZON_NAMES[score.horizon],
            f"{score.level:.0%}",
            f"{score.num_inside}/{score.num_intervals} {score.num_inside / score.num_intervals:.1%}",
            _interval(score),
            *(_number(value) for value in (score.width, score.relative_width, score.interval_score)),
        )
    console.print(table)
    console.print(f"\n[dim]{EXPLAINED}[/]\n", highlight=False)


def _interval(score: "IntervalScore") -> str:
    if score.coverage_low is None or score.coverage_high is None:
        return NOTHING
    return f"{100 * score.coverage_low:.0f}–{100 * score.coverage_high:.0f}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
