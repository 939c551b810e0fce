"""The leaderboard: who was right, over the last 30 filled sessions."""

import dagster as dg

from ldtm_assets.assets.leaderboard_charts import pictures_of
from ldtm_assets.partitions import as_a_whole
from ldtm_assets.resources import ProjectResource
from ldtm_lib.ledger.leaderboard import Leaderboard, LeaderboardRow, Score
from ldtm_lib.ledger.leaderboard import leaderboard as read_leaderboard
from ldtm_lib.ledger.track_record import track_record


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
    """Direction accuracy, the ranks it leaves possible, coverage and errors per ticker, over 30 filled sessions."""
    with project.open().database.transaction() as conn:
        board = read_leaderboard(conn, simulated=config.simulated)
        record = track_record(conn, simulated=config.simulated)
    kind = "simulated" if config.simulated else "live"
    return dg.MaterializeResult(
        metadata={
            "leaderboard": dg.MetadataValue.md(as_markdown(board)),
            "gate": dg.MetadataValue.md(reasons_as_markdown(board)),
            "rows that count": kind,
            **pictures_of(board, record, kind=kind),
        }
    )


TO = "\u00a0–\u00a0"
"""Between the ends of an interval; with these spaces it does not break."""
RANKS_EXPLAINED = (
    "\\#: by the lower end of the accuracy's interval. Rank 95%: the ranks by accuracy itself that luck leaves "
    "possible, with 95% confidence for all tickers at once; 1 to the number of tickers means that the order may be "
    "luck alone."
)


def as_markdown(board: Leaderboard) -> str:
    """The leaderboard as the table that the UI shows."""
    lines = [
        "| # | rank 95% | ticker | spoke as | direction right | 95% interval | coverage | next-day error % "
        "| no change % | gate |",
        "|--:|--:|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in board.rows:
        gate = {True: "let through", False: "refused", None: "never judged"}[row.gate_passed]
        lines.append(
            f"| {row.rank or ''} | {_ranks(row)} | {row.ticker} | {row.model_status or 'abstained'} "
            f"| {_figures(row.score)} | {gate} |"
        )
    lines.append(f"| | | **all** | | {_figures(board.universe)} | |")
    return "\n".join([*lines, "", RANKS_EXPLAINED])


def reasons_as_markdown(board: Leaderboard) -> str:
    """Why each ticker that the gate refused is not active, as a list."""
    refused = [row for row in board.rows if row.gate_passed is False]
    return "\n".join(f"- {row.ticker}: {'; '.join(row.gate_reasons)}" for row in refused) or "nobody was refused"


def _ranks(row: LeaderboardRow) -> str:
    return "" if row.rank_low is None else f"{row.rank_low}{TO}{row.rank_high}"


def _figures(score: Score) -> str:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    def percent(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    interval = f"{share(score.accuracy_low)}{TO}{share(score.accuracy_high)}" if score.num_directional else ""
    return " | ".join(
        [
            share(score.direction_accuracy),
            interval,
            share(score.coverage),
            percent(score.next_day_error),
            percent(score.next_day_no_change_error),
        ]
    )
