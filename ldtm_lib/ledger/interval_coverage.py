"""Breakdown of coverage: a test for recorded intervals that contain far fewer actuals than their level.

Intervals are checked after every session, so their coverage is tested sequentially (`statistics.sequential`), against
their level less a tolerance: coverage that swings around its level is not a breakdown. The test of each ticker, horizon
and level restarts with the first live forecast of a calendar year, so that good years do not hide a bad month. The
strongest evidence since then counts. All tests of a year share one significance.

Outcomes of later horizons overlap: the fall of one day is part of 21 one-month outcomes. A forecast therefore counts
only if it was made when the outcome of the last counted one was known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import HORIZON_NAMES, HORIZONS
from ldtm_lib.settings import IntervalsConfig
from ldtm_lib.statistics.conformal import LEVELS
from ldtm_lib.statistics.sequential import log_shortfall
from ldtm_lib.wording import counted

DAY_ZERO = date(2000, 1, 1)
LARGEST_LOG_E = 690.0
"""Larger evidence is shown as e to this power."""
LARGEST_SHOWN_E = 1e9
"""Largest evidence that the reason of a record states as a number."""

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRecord:
    """The live intervals of one ticker, horizon and level since the beginning of the year."""

    ticker: str
    horizon: str
    level: float
    first_run_date: date
    num_outcomes: int
    """Outcomes that do not overlap."""
    num_inside: int
    bound: float
    """The level less the tolerance."""
    evidence: float
    """The largest e-value since the beginning of the year against a coverage of the bound; 1 is no evidence."""
    evidence_needed: float
    """Threshold: evidence at or above it shows that coverage has broken down."""

    @property
    def has_broken_down(self) -> bool:
        """True if coverage fell significantly below the bound."""
        return self.evidence >= self.evidence_needed

    @property
    def reason(self) -> str:
        """The record in words."""
        return (
            f"the {self.level:.0%} intervals of {self.ticker}, {HORIZON_NAMES[self.horizon]}, contained "
            f"{self.num_inside} of {counted(self.num_outcomes, 'actual')} since {self.first_run_date}, "
            f"{self.num_inside / self.num_outcomes:.1%}; the strongest evidence against a coverage of "
            f"{self.bound:.0%} was {_e_text(self.evidence)}, and {_e_text(self.evidence_needed)} shows a breakdown"
        )


def _e_text(evidence: float) -> str:
    """An e-value with three digits, or as a whole number."""
    if evidence > LARGEST_SHOWN_E:
        return f"more than {LARGEST_SHOWN_E:,.0f}"
    return f"{evidence:,.0f}" if evidence >= 1000 else f"{evidence:.3g}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Outcomes:
    """Outcomes that do not overlap, in the order of their run dates."""

    ticker: str
    horizon: str
    level: float
    first_run_date: date
    is_inside: Booleans


def coverage_records(conn: Connection, config: IntervalsConfig, *, num_tickers: int) -> list[CoverageRecord]:
    """The record of every ticker, horizon and level with a live outcome this year, in this order.

    The year is that of the newest live forecast. The significance is divided by the number of tests of `num_tickers`,
    so that it is the probability of any false report within a year. One statement for all tickers.
    """
    evidence_needed = num_tickers * len(HORIZONS) * len(LEVELS) / config.breakdown_significance
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(query("ledger.interval_outcomes")).fetchall()
    found = [
        _Outcomes(
            ticker=ticker,
            horizon=horizon,
            level=level,
            first_run_date=DAY_ZERO + timedelta(days=run_dates[used[0]]),
            is_inside=np.array([inside[at] for at in used], np.bool_),
        )
        for ticker, horizon, run_dates, targets, *of_levels in rows
        for level, inside in zip(LEVELS, of_levels, strict=True)
        if (used := not_overlapping(run_dates, targets, [at is not None for at in inside]))
    ]
    evidence = {level: _log_evidence([o for o in found if o.level == level], level, config) for level in LEVELS}
    return [
        CoverageRecord(
            ticker=outcomes.ticker,
            horizon=outcomes.horizon,
            level=outcomes.level,
            first_run_date=outcomes.first_run_date,
            num_outcomes=len(outcomes.is_inside),
            num_inside=int(outcomes.is_inside.sum()),
            bound=outcomes.level - config.breakdown_tolerance,
            evidence=math.exp(min(evidence[outcomes.level].pop(0), LARGEST_LOG_E)),
            evidence_needed=evidence_needed,
        )
        for outcomes in found
    ]


def not_overlapping(run_dates: Sequence[int], targets: Sequence[int], usable: Sequence[bool]) -> list[int]:
    """The indices of forecasts that do not overlap: each was made when the outcome of the one before was known.

    `run_dates` and `targets` are numbers of days, in ascending order of run dates. The choice depends on them and on
    which forecasts are usable, not on any outcome.
    """
    chosen: list[int] = []
    free_from = -math.inf
    for at, (run_date, target, is_usable) in enumerate(zip(run_dates, targets, usable, strict=True)):
        if is_usable and run_date >= free_from:
            chosen.append(at)
            free_from = target
    return chosen


def _log_evidence(found: Sequence[_Outcomes], level: float, config: IntervalsConfig) -> list[float]:
    """The logarithm of the largest e-value of each record, at least 0; all records of a level at once."""
    if not found:
        return []
    lengths = [len(outcomes.is_inside) for outcomes in found]
    starts = np.cumsum([0, *lengths[:-1]])
    num_inside = np.concatenate([np.cumsum(outcomes.is_inside, dtype=np.int64) for outcomes in found])
    num_outcomes = np.concatenate([np.arange(1, length + 1) for length in lengths])
    log_e = log_shortfall(num_inside, num_outcomes, level - config.breakdown_tolerance)
    return np.maximum(np.maximum.reduceat(log_e, starts), 0.0).tolist()
