"""Prediction intervals of a run date: half-widths from the past forecasts on record, and the bounds of prices.

The past forecasts of a ticker are the test rows of its model's own backtest, whose fold networks never saw them, and
then the recorded forecasts of the ticker after the last of these rows: live and late ones, or those of the simulation
itself. Scores are relative to the close of their own run date, so that a split changes none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.forecasters import Forecaster
from ldtm_lib.sessions import HORIZONS, LONGEST_SESSIONS, Calendar, Sessions
from ldtm_lib.settings import IntervalsConfig
from ldtm_lib.statistics.conformal import LEVELS, Lane, walk

PERCENTS = tuple(round(100 * level) for level in LEVELS)
BOUNDS = tuple(f"{horizon}_{end}_{percent}" for horizon in HORIZONS for percent in PERCENTS for end in ("low", "high"))
"""The columns of the record, in its order."""
DAY_ZERO = np.datetime64("2000-01-01", "D")
BACKTEST_ROW = np.dtype([("session", ">i4"), ("scores", ">f8", 3)])
RECORDED_ROW = np.dtype([("session", ">i4"), ("targets", ">i4", 3), ("scores", ">f8", 3)])

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Past:
    """Scored forecasts of one ticker, oldest first."""

    sessions: Sessions
    """(n,)"""
    targets: Sessions
    """(n, 3)"""
    scores: Values
    """(n, 3), NaN where the actual was not known."""

    def lane(self, place: int) -> Lane:
        """The forecasts of one horizon whose actual was known."""
        known = np.isfinite(self.scores[:, place])
        return Lane(
            sessions=self.sessions[known],
            targets=self.targets[known, place],
            scores=self.scores[known, place],
            overlap=LONGEST_SESSIONS[HORIZONS[place]],
        )


def half_widths(
    conn: Connection,
    forecasters: Mapping[str, Forecaster],
    run_date: date,
    *,
    simulation_id: int,
    moment: datetime,
    calendar: Calendar,
    config: IntervalsConfig,
) -> dict[str, Values]:
    """The half-widths (3, 2) of intervals by ticker, horizons by levels, in units of close * volatility.

    They follow from the outcomes that were on record at `moment` and whose target session is not after the run date.
    NaN where these are too few, infinity where no finite interval is wide enough. Two statements for all tickers.
    """
    if not forecasters:
        return {}
    pasts = _pasts(conn, forecasters, run_date, simulation_id, moment, calendar)
    lanes = [pasts[ticker].lane(place) for ticker in forecasters for place in range(len(HORIZONS))]
    found = walk(lanes, config).quantiles(np.full(len(lanes), np.datetime64(run_date, "D")))
    return dict(zip(forecasters, found.reshape(-1, len(HORIZONS), len(LEVELS)), strict=True))


def bounds_of(
    prices: Sequence[float], close: float, volatility: float, widths: Values | None
) -> dict[str, float | None]:
    """The 12 bounds of a forecast by column. None without a finite half-width, and all None if no price moved.

    `prices` are those of the three horizons, `volatility` is per session, `widths` are those of `half_widths`. No bound
    is below 0, since no price is.
    """
    bounds: dict[str, float | None] = dict.fromkeys(BOUNDS)
    if widths is None or volatility <= 0:
        return bounds
    for horizon, price, widths_V in zip(HORIZONS, prices, widths, strict=True):
        for percent, width in zip(PERCENTS, widths_V.tolist(), strict=True):
            reach = width * close * volatility
            if np.isfinite(reach):
                bounds[f"{horizon}_low_{percent}"] = max(price - reach, 0.0)
                bounds[f"{horizon}_high_{percent}"] = max(price + reach, 0.0)
    return bounds


def ends_of(row: object, horizon: str, percent: int) -> tuple[float, float] | None:
    """The ends of one interval of a row that has the columns BOUNDS; None where there is none."""
    low: float | None = getattr(row, f"{horizon}_low_{percent}")
    high: float | None = getattr(row, f"{horizon}_high_{percent}")
    return None if low is None or high is None else (low, high)


def _pasts(
    conn: Connection,
    forecasters: Mapping[str, Forecaster],
    run_date: date,
    simulation_id: int,
    moment: datetime,
    calendar: Calendar,
) -> dict[str, _Past]:
    tickers = {forecaster.checkpoint_id: ticker for ticker, forecaster in forecasters.items()}
    with conn.cursor(binary=True) as cursor:
        backtests = cursor.execute(
            query("ledger.residuals_of_backtests"), {"checkpoint_ids": list(tickers), "moment": moment}
        ).fetchall()
        tested = {tickers[checkpoint_id]: (last, packed) for checkpoint_id, last, packed in backtests}
        asked = {
            "tickers": list(forecasters),
            "after": [tested[ticker][0] if ticker in tested else None for ticker in forecasters],
            "run_date": run_date,
            "simulation_id": simulation_id,
            "moment": moment,
        }
        recorded: dict[str, bytes] = dict(cursor.execute(query("ledger.residuals_on_record"), asked).fetchall())
    return {
        ticker: _past(tested[ticker][1] if ticker in tested else b"", recorded.get(ticker, b""), calendar)
        for ticker in forecasters
    }


def _past(tested: bytes, recorded: bytes, calendar: Calendar) -> _Past:
    """The rows of a backtest, whose targets the calendar knows, and after them those of the record."""
    backtest, record = np.frombuffer(tested, BACKTEST_ROW), np.frombuffer(recorded, RECORDED_ROW)
    sessions = _days(backtest["session"])
    at = np.minimum(np.searchsorted(calendar.days, sessions), len(calendar.days) - 1)
    traded = calendar.days[at] == sessions  # without sessions that the exchange called off later
    return _Past(
        sessions=np.concatenate([sessions[traded], _days(record["session"])]),
        targets=np.concatenate([calendar.targets_of(sessions[traded]), _days(record["targets"])]),
        scores=np.concatenate([backtest["scores"][traded], record["scores"]]).astype(np.float64),
    )


def _days(numbers: npt.NDArray[np.int32]) -> Sessions:
    return DAY_ZERO + numbers.astype("timedelta64[D]")
