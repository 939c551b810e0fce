"""The leaderboard: accuracy over the last 30 filled sessions, and the model that made the forecasts."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Literal

from psycopg.rows import dict_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.counted_forecasts import RankInterval, counted_forecasts, ranks_of
from ldtm_lib.ledger.simulations import LIVE, RowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of a set of filled forecasts. Shares are between 0 and 1, errors are mean absolute errors in percent.

    A figure is None if there is nothing to count. The no-change errors are those of forecasting the run date's close.
    """

    first_run_date: date | None
    last_run_date: date | None
    num_filled: int
    """Forecasts whose next-day actual is known."""
    num_directional: int
    """Number of these forecasts that were not neutral."""
    num_correct: int
    direction_accuracy: float | None
    accuracy_low: float | None
    """Lower end of the 95% Wilson interval of the direction accuracy."""
    accuracy_high: float | None
    coverage: float | None
    """Share of the filled forecasts that gave a direction."""
    next_day_error: float | None
    next_day_no_change_error: float | None
    num_next_monday: int
    next_monday_error: float | None
    next_monday_no_change_error: float | None
    num_one_month: int
    one_month_error: float | None
    one_month_no_change_error: float | None

    @property
    def next_day_error_ratio(self) -> float | None:
        """The next-day error divided by that of forecasting no change, or None if there is none or the divisor is 0.

        Below 1, the forecasts have the smaller error.
        """
        if self.next_day_error is None or not self.next_day_no_change_error:
            return None
        return self.next_day_error / self.next_day_no_change_error


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """One ticker of the leaderboard."""

    ticker: str
    rank: int | None
    """By the lower end of the accuracy's interval, then by the next-day error; None without a filled forecast."""
    rank_low: int | None
    """The best rank by direction accuracy, not by `rank`'s order, that the forecasts leave possible: the lower end of
    an interval that holds for all tickers at once with 95% confidence. None without a direction that counts.

    Luck moves ranks a lot: over 30 sessions 103 tickers are rarely distinguishable. The module `ranking` gives
    figures."""
    rank_high: int | None
    """The worst such rank."""
    score: Score
    gate_passed: bool | None
    """The newest verdict of the gate, or of the simulation's gate; None when the ticker was never judged."""
    gate_reasons: tuple[str, ...]
    """Reasons why the gate was not passed, one per rule that failed."""
    model_status: Literal["active", "retired", "candidate"] | None
    """Status of the model of the newest filled forecast when it made that forecast; while none is filled, that of the
    newest forecast. None if all rows that count abstained."""
    model_version: str | None
    """Version of that model; None for a candidate, too."""
    trained_on: date | None
    """The last session whose bars the training of that model could see."""
    active_version: str | None
    """The version that the registry holds active now, whichever model made the forecasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """All tickers of the ledger, ranked ones first, and the universe as a whole."""

    rows: tuple[LeaderboardRow, ...]
    universe: Score
    """The same forecasts pooled. Tickers move together, so its interval is too narrow."""


def leaderboard(conn: Connection, rows: RowKind = LIVE) -> Leaderboard:
    """The leaderboard over live forecasts, over late ones, or over those of a simulation."""
    with conn.cursor(row_factory=dict_row) as cursor:
        *tickers, universe = cursor.execute(query("ledger.leaderboard"), rows.parameters).fetchall()
    ranks = ranks_of(counted_forecasts(conn, rows))
    return Leaderboard(rows=tuple(_row(row, ranks.get(row["ticker"])) for row in tickers), universe=_score(universe))


def _row(row: Mapping[str, Any], ranks: RankInterval | None) -> LeaderboardRow:
    return LeaderboardRow(
        ticker=row["ticker"],
        rank=row["rank"],
        rank_low=ranks.low if ranks else None,
        rank_high=ranks.high if ranks else None,
        score=_score(row),
        gate_passed=row["gate_passed"],
        gate_reasons=tuple(row["gate_reasons"]),
        model_status=row["model_status"],
        model_version=row["model_version"],
        trained_on=row["trained_on"],
        active_version=row["active_version"],
    )


def _score(row: Mapping[str, Any]) -> Score:
    return Score(**{field.name: row[field.name] for field in fields(Score)})
