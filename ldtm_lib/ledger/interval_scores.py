"""Scores of recorded prediction intervals against their actuals: coverage, width and interval score."""

from dataclasses import dataclass

from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.simulations import LIVE, RowKind


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalScore:
    """The intervals of one ticker, or of the universe, at one horizon and level, over all filled rows of a kind."""

    ticker: str | None
    """None for the universe: the rows of all tickers pooled."""
    horizon: str
    level: float
    """0.80 or 0.95: the share of actuals that the intervals are to contain."""
    num_filled: int
    """Filled forecasts, with an interval or without."""
    num_intervals: int
    """Forecasts with an interval; the figures below are over these."""
    num_inside: int
    coverage: float | None
    coverage_low: float | None
    """Lower end of the 95% Wilson interval of the coverage. It assumes independent outcomes: for several tickers, and
    for later horizons, whose outcomes overlap, it is too narrow."""
    coverage_high: float | None
    width: float | None
    """Mean width in percent of the run date's close."""
    relative_width: float | None
    """Mean ratio of the width to that of the interval of a no-change forecast whose log returns are normal and
    independent with the window's volatility. Above 1, the errors were larger than those of such a random walk, or had
    heavier tails."""
    interval_score: float | None
    """Mean interval score in percent of the close, lower is better: the width, and 2 / (1 - level) times the distance
    of an actual outside (Gneiting and Raftery, "Strictly proper scoring rules", J. Am. Stat. Assoc. 102, 2007)."""


def interval_scores(conn: Connection, rows: RowKind = LIVE) -> list[IntervalScore]:
    """The scores by ticker, horizon and level, those of the universe last; no row for a horizon without an actual."""
    with conn.cursor(row_factory=class_row(IntervalScore)) as cursor:
        return cursor.execute(query("ledger.interval_scores"), rows.parameters).fetchall()
