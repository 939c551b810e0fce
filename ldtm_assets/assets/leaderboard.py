"""The leaderboard: who was right, over the last 30 filled sessions."""

import dagster as dg

from ldtm_assets.partitions import as_a_whole
from ldtm_assets.resources import ProjectResource
from ldtm_lib.ledger.leaderboard import Leaderboard, Score
from ldtm_lib.ledger.leaderboard import leaderboard as read_leaderboard


class LeaderboardConfig(dg.Config):
    """Whose rows count."""

    simulated: bool = False
    """Show simulated rows instead of live ones."""


@dg.asset(
    name="leaderboard",
    deps=[
        dg.AssetDep("fillbacks", partition_mapping=as_a_whole()),
        dg.AssetDep("registry", partition_mapping=as_a_whole()),
    ],
    group_name="forecasts",
    kinds={"postgres"},
)
def leaderboard(config: LeaderboardConfig, project: ProjectResource) -> dg.MaterializeResult:
    """Direction accuracy with its interval, coverage and errors per ticker, over the last 30 filled sessions."""
    with project.open().database.transaction() as conn:
        board = read_leaderboard(conn, simulated=config.simulated)
    return dg.MaterializeResult(
        metadata={
            "leaderboard": dg.MetadataValue.md(as_markdown(board)),
            "gate": dg.MetadataValue.md(reasons_as_markdown(board)),
            "rows that count": "simulated" if config.simulated else "live",
        }
    )


def as_markdown(board: Leaderboard) -> str:
    """The leaderboard as the table that the UI shows."""
    lines = [
        "| # | ticker | spoke as | direction right | 95% interval | coverage | next-day error % | no change % | gate |",
        "|--:|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in board.rows:
        gate = {True: "let through", False: "refused", None: "never judged"}[row.gate_passed]
        lines.append(
            f"| {row.rank or ''} | {row.ticker} | {row.model_status or 'abstained'} | {_figures(row.score)} | {gate} |"
        )
    lines.append(f"| | **all** | | {_figures(board.universe)} | |")
    return "\n".join(lines)


def reasons_as_markdown(board: Leaderboard) -> str:
    """Why each ticker that the gate refused is not active, as a list."""
    refused = [row for row in board.rows if row.gate_passed is False]
    return "\n".join(f"- {row.ticker}: {'; '.join(row.gate_reasons)}" for row in refused) or "nobody was refused"


def _figures(score: Score) -> str:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    def percent(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    interval = f"{share(score.accuracy_low)} – {share(score.accuracy_high)}" if score.num_directional else ""
    return " | ".join(
        [
            share(score.direction_accuracy),
            interval,
            share(score.coverage),
            percent(score.next_day_error),
            percent(score.next_day_no_change_error),
        ]
    )
