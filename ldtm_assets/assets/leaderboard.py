"""The leaderboard: the ranking of tickers by their forecasts over the last 30 filled sessions."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from ldtm_assets.materialization import Metadata, picture
from ldtm_assets.partitions import as_a_whole
from ldtm_assets.resources import ProjectResource
from ldtm_lib.baselines.scores import NAMES, PRICE_FIGURES, BestConstant, Comparison, ModelScore, accuracy_interval
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.baselines import ComparisonBoard, backtest_comparisons, comparisons
from ldtm_lib.ledger.interval_scores import IntervalScore, interval_scores
from ldtm_lib.ledger.leaderboard import Leaderboard, LeaderboardRow, Score
from ldtm_lib.ledger.leaderboard import leaderboard as read_leaderboard
from ldtm_lib.ledger.simulations import LIVE, newest_simulation, simulations
from ldtm_lib.ledger.track_record import TrackRecord, track_record
from ldtm_lib.plots.accuracy_over_time import accuracy_over_time
from ldtm_lib.plots.calibration import CalibrationPoint, calibration_picture
from ldtm_lib.plots.ranked_tickers import RankedTicker, ranked_tickers
from ldtm_lib.sessions import HORIZON_NAMES
from ldtm_lib.wording import counted


class LeaderboardConfig(dg.Config):
    """Choice of the rows that count."""

    simulated: bool = Field(default=False, description="Show the rows of the newest simulation instead of live ones.")


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
    """Ranks, direction accuracy, coverage and errors over the last 30 filled sessions; network against baselines."""
    with project.open().database.transaction() as conn:
        return dg.MaterializeResult(metadata=leaderboard_metadata(conn, simulated=config.simulated))


def leaderboard_metadata(conn: Connection, *, simulated: bool) -> Metadata:
    """Metadata that the asset shows: of the live rows, or of those of the newest simulation."""
    rows = newest_simulation(conn) if simulated else LIVE
    board = read_leaderboard(conn, rows)
    record = track_record(conn, rows)
    number = {"simulation": f"{rows.simulation_id} of {len(simulations(conn))}"} if simulated else {}
    return {
        "leaderboard": dg.MetadataValue.md(as_markdown(board)),
        "network against baselines": _comparison(comparisons(conn, rows), f"{rows.kind} forecast"),
        "network against baselines in backtests": _comparison(backtest_comparisons(conn), "backtest"),
        "prediction intervals": _intervals(interval_scores(conn, rows), rows.kind),
        "gate": dg.MetadataValue.md(reasons_as_markdown(board)),
        "rows that count": rows.kind,
        **number,
        **pictures_of(board, record, kind=rows.kind),
    }


MOST_ROWS = 200
"""Tickers of a table or picture. With thousands of tickers, a row per ticker would be megabytes of Dagster's event log
a day, and a picture has at most 65,535 pixels."""
ALL_SHOWN_BY = "`ldtm leaderboard` and the page Leaderboard of `ldtm dashboard` show all"
TO = "\u00a0–\u00a0"
"""Dash between the ends of an interval; with these spaces the interval does not break."""
RANKS_EXPLAINED = (
    "Tickers are ranked by the lower end of the 95% interval of their direction accuracy. The 95% intervals of the "
    "ranks are simultaneous, for ranks by accuracy: all of them hold at once with 95% confidence. An interval from 1 "
    "to the number of tickers means that the order may be luck. "
    "After most Friday closes, next day and next Monday are the same session, which the network forecasts with "
    "two heads."
)


def _ends(rows: Sequence[LeaderboardRow]) -> Sequence[LeaderboardRow]:
    """The rows, or the first and the last ones of many."""
    half = MOST_ROWS // 2
    return rows if len(rows) <= MOST_ROWS else [*rows[:half], *rows[-half:]]


def _without(num_rows: int, noun: str, where: str = "") -> list[str]:
    """A sentence about the rows that are left out, if any."""
    more = counted(num_rows - MOST_ROWS, noun)
    return [f"Not shown: {more}{where}; {ALL_SHOWN_BY}."] if num_rows > MOST_ROWS else []


def as_markdown(board: Leaderboard) -> str:
    """The leaderboard as the table that the UI shows; of many tickers the first and the last ranks."""
    lines = [
        "| rank | its 95% interval | ticker | model | direction right | 95% interval | coverage | next-day error % "
        "| no-change error % | gate |",
        "|--:|--:|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in _ends(board.rows):
        gate = {True: "passed", False: "refused", None: "never judged"}[row.gate_passed]
        lines.append(
            f"| {row.rank or ''} | {_ranks(row)} | {row.ticker} | {row.model_status or 'abstained'} "
            f"| {_figures(row.score)} | {gate} |"
        )
    lines.append(f"| | | **all** | | {_figures(board.universe)} | |")
    return "\n".join(
        [*lines, "", *_without(len(board.rows), "ticker", " between the first and the last"), RANKS_EXPLAINED]
    )


def _comparison(board: ComparisonBoard, of: str) -> dg.MetadataValue:
    """The universe and every ticker against the baselines, or a sentence that there is nothing to compare."""
    if board.universe is None:
        return dg.MetadataValue.text(f"no {of} has baselines yet")
    return dg.MetadataValue.md(comparison_as_markdown(board.universe, board))


def comparison_as_markdown(universe: Comparison, board: ComparisonBoard) -> str:
    """The models as rows for the universe, then the next-day errors of every ticker; better figures are bold."""
    lines = [
        "| model | next-day error % | next-Monday error % | one-month error % | direction right | 95% interval |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for score in (universe.network, *universe.baselines):
        better = universe.better_than_network(score)
        errors = [_marked(error, name in better) for error, name in zip(score.errors, PRICE_FIGURES, strict=True)]
        lines.append(f"| {NAMES[score.model]} | {' | '.join(errors)} | {_direction(score, 'direction' in better)} |")
    best = universe.best_constant
    is_better = bool(universe.better_than_network(best))
    lines.append(f"| always {best.direction} | | | | {_direction(best, is_better)} |")
    span = f"{counted(universe.network.num_next_day, 'row')} of {universe.first_session} to {universe.last_session}"
    lines += ["", f"**{universe.verdict}** {span}; bold figures are better than the network's.", ""]
    lines += ["| ticker | network | no change | drift | AR(1) | ridge |", "|---|--:|--:|--:|--:|--:|"]
    for comparison in board.tickers[:MOST_ROWS]:
        errors = [
            _marked(score.next_day_error, "next day" in comparison.better_than_network(score))
            for score in (comparison.network, *comparison.baselines)
        ]
        lines.append(f"| {comparison.ticker} | {' | '.join(errors)} |")
    left_out = _without(len(board.tickers), "ticker")
    return "\n".join([*lines, "", *left_out, "By ticker: next-day error in percent."])


def _marked(error: float | None, is_better: bool) -> str:
    if error is None:
        return ""
    return f"**{error:.3f}**" if is_better else f"{error:.3f}"


def _direction(score: ModelScore | BestConstant, is_better: bool) -> str:
    accuracy, interval = score.direction_accuracy, accuracy_interval(score)
    if accuracy is None or interval is None:
        return " | "
    share = f"**{accuracy:.1%}**" if is_better else f"{accuracy:.1%}"
    return f"{share} | {interval.low:.1%}{TO}{interval.high:.1%}"


def _intervals(scores: list[IntervalScore], kind: str) -> dg.MetadataValue:
    """Coverage, width and score of the intervals of the universe, then of every ticker, or that there are none."""
    lines = [
        "| ticker | horizon | level | inside | of | coverage | 95% interval | width % | relative width | "
        "interval score |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    tickers = list(dict.fromkeys(score.ticker for score in scores if score.num_intervals and score.ticker is not None))
    shown = {None, *tickers[:MOST_ROWS]}
    with_intervals = (score for score in scores if score.num_intervals and score.ticker in shown)
    for score in sorted(with_intervals, key=lambda score: score.ticker is not None):
        coverage, low, high = score.coverage or 0.0, score.coverage_low or 0.0, score.coverage_high or 0.0
        cells = [
            score.ticker or "**all**",
            HORIZON_NAMES[score.horizon],
            f"{score.level:.0%}",
            f"{score.num_inside} | {score.num_intervals} | {coverage:.1%} | {low:.1%}{TO}{high:.1%}",
            *("" if v is None else f"{v:.2f}" for v in (score.width, score.relative_width, score.interval_score)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if len(lines) == 2:
        return dg.MetadataValue.text(f"no filled {kind} forecast has an interval yet")
    return dg.MetadataValue.md(
        "\n".join(
            [
                *lines,
                "",
                *_without(len(tickers), "ticker"),
                "All filled forecasts; width and score in percent of the close.",
            ]
        )
    )


def reasons_as_markdown(board: Leaderboard) -> str:
    """Reasons why each ticker that the gate refused is not active, as a list."""
    refused = [row for row in board.rows if row.gate_passed is False]
    lines = [f"- {row.ticker}: {'; '.join(row.gate_reasons)}" for row in refused[:MOST_ROWS]]
    return "\n".join([*lines, *_without(len(refused), "refused ticker")]) or "no ticker was refused"


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


def pictures_of(board: Leaderboard, record: TrackRecord, *, kind: str) -> dict[str, dg.MetadataValue]:
    """One picture per name, or the reason why there is none; `kind` names the rows that count."""
    return {
        "accuracy over time": _accuracy_over_time(record, kind),
        "tickers": _tickers(board, kind),
        "calibration": _calibration(record, kind),
    }


def _accuracy_over_time(record: TrackRecord, kind: str) -> dg.MetadataValue:
    if not record.accuracy:
        return dg.MetadataValue.text(f"no {kind} forecast that named a direction has been filled yet")
    newest = record.accuracy[-1]
    title = f"{kind}: {newest.accuracy.value:.1%} right in the 30 sessions to {newest.run_date}"
    if newest.accuracy.low is not None and newest.accuracy.high is not None:
        title += f" ({newest.accuracy.low:.0%} – {newest.accuracy.high:.0%})"
    png = accuracy_over_time(
        title,
        [point.run_date for point in record.accuracy],
        [point.accuracy.value for point in record.accuracy],
        [(point.accuracy.low, point.accuracy.high) for point in record.accuracy],
    )
    return picture(png, of="share of directions that were right, over time")


def _tickers(board: Leaderboard, kind: str) -> dg.MetadataValue:
    ranked = [row for row in board.rows if row.score.num_filled]
    if not ranked:
        return dg.MetadataValue.text(f"no {kind} forecast has been filled yet")
    shown = _ends(ranked)
    which = f"first and last {len(shown) // 2} of " if len(shown) < len(ranked) else ""
    title = f"{kind}: {which}{counted(len(ranked), 'ticker')} by rank, last 30 filled sessions"
    return picture(ranked_tickers(title, [_bar(row) for row in shown]), of="direction accuracy and error by ticker")


def _bar(row: LeaderboardRow) -> RankedTicker:
    return RankedTicker(
        name=f"{row.rank} {row.ticker}",
        accuracy=row.score.direction_accuracy,
        low=row.score.accuracy_low,
        high=row.score.accuracy_high,
        error_ratio=row.score.next_day_error_ratio,
    )


def _calibration(record: TrackRecord, kind: str) -> dg.MetadataValue:
    if not record.calibration:
        return dg.MetadataValue.text(f"no {kind} forecast has been filled yet")
    num_forecasts = sum(group.num_forecasts for group in record.calibration)
    number = f"{counted(num_forecasts, 'forecast')} in {counted(len(record.calibration), 'bin')}"
    title = f"{kind}: {number}, predicted and actual returns"
    points = [
        CalibrationPoint(
            predicted=group.predicted, actual=group.actual.value, low=group.actual.low, high=group.actual.high
        )
        for group in record.calibration
    ]
    return picture(calibration_picture(title, points), of="predicted against actual returns")
