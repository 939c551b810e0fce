"""Splits stated by the operator: a split that no source declares, a corrected ratio, or the withdrawal of a split."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.prices.ingest import SPLIT_SOURCE, add_bars, add_splits, differing, next_moment
from ldtm_lib.prices.split_corrections import SAME_SPLIT_WITHIN
from ldtm_lib.prices.split_inference import jump_at
from ldtm_lib.prices.split_ratios import LARGEST_MOVE, SAME_RATIO, is_large_move, is_same_ratio
from ldtm_lib.prices.splits import RATIO_TOLERANCE, Split, adjust
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.prices.stored_history import WITHDRAWN
from ldtm_lib.sessions import Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedSplit:
    """The change of the record that a statement made."""

    ticker: str
    session: date
    ratio: float
    """Ratio as stated; 1 means that there was no split."""
    former_ratio: float
    """Ratio that was on record; 1 for none."""
    num_rows: int
    """Rows that were added to the record; 0 if the split was on record already."""
    num_restated: int
    """Stored bars that were restated."""


def state_split(
    conn: Connection, ticker: str, session: date, ratio: float, calendar: Calendar, *, lacks_it: bool | None = None
) -> StatedSplit:
    """Record a split by hand, within the caller's transaction.

    `ratio` is the number of new shares for one old share from `session` on; 1 withdraws a split. The stored bars before
    the session are restated if they lack the split: if the stored bars end before the session, if they were restated by
    the ratio on record, or if the prices jump at the session by `ratio` over the ratio on record. `lacks_it` overrides
    this. A later delivery does not change the statement; another statement does. Raises CalendarError for a day that is
    not a session, and ConfigurationError for a session that has not closed, for the withdrawal of a split that is not
    on record, for a split that may be one that was inferred for a nearby session, and for a ratio that the stored
    prices contradict or do not show.
    """
    conn.execute(query("prices.lock"))
    newest = last_closed_session(conn)
    known = {row[1]: row for row in conn.execute(query("prices.known_splits"), {"tickers": [ticker]})}
    if session not in known:
        calendar.require_session(session)
    if session > newest:
        raise ConfigurationError(
            f"session {session} has not closed; a split is recorded once its session has closed, and the newest closed "
            f"session is {newest}"
        )
    former, origin, restating = known[session][2:] if session in known else (1.0, None, 1.0)
    others = [(row[1], row[2], row[3]) for row in known.values() if row[1] != session and abs(row[2] - 1) > WITHDRAWN]
    if ratio == 1 and abs(former - 1) <= WITHDRAWN:
        on_record = ", ".join(f"{other:g} for 1 on {day}" for day, other, _ in others)
        raise ConfigurationError(
            f"no split of {ticker} on {session} is on record that could be withdrawn; on record: {on_record or 'none'}"
        )
    for day, other, stated_by in others:
        is_near = abs(day - session) <= SAME_SPLIT_WITHIN and is_same_ratio(other, ratio, RATIO_TOLERANCE)
        if origin is None and is_near and stated_by == "inferred":
            raise ConfigurationError(
                f"a split of {other:g} for 1 on {day} was inferred from restated bars and may be the same; to correct "
                f"its date, withdraw it first: ldtm prices split {ticker} {day} 1"
            )
    factor = ratio / former
    if is_same_ratio(ratio, former, SAME_RATIO):
        return StatedSplit(ticker=ticker, session=session, ratio=ratio, former_ratio=former, num_rows=0, num_restated=0)
    bars = current_bars(conn, [ticker])
    is_restated = abs(restating - 1) > WITHDRAWN
    """True if stored bars were restated by the rows on record, and no delivery has replaced them since."""
    is_lacking = is_restated or _lacks(bars, ticker, session, factor) if lacks_it is None else lacks_it
    row = Split(ticker=ticker, session=session, ratio=factor)
    moment = next_moment(conn, bars)
    restated = differing(adjust(bars, [row]), bars) if is_lacking else bars.clear()
    add_splits(conn, [row], "operator", moment, is_applied=not is_lacking)
    add_bars(conn, restated.with_columns(source=pl.lit(SPLIT_SOURCE)), moment)
    return StatedSplit(
        ticker=ticker, session=session, ratio=ratio, former_ratio=former, num_rows=1, num_restated=len(restated)
    )


def _lacks(bars: pl.DataFrame, ticker: str, session: date, ratio: float) -> bool:
    """True if the stored bars end before a session, or jump at it by a ratio: they lack the split or correction."""
    if bars.is_empty() or bars["session"][-1] < session:
        return not bars.is_empty()
    jump = jump_at(bars, session)
    if jump is None:
        return False
    to_split, to_none = abs(np.log(jump / ratio)), abs(np.log(jump))
    bound = np.log(LARGEST_MOVE)
    if not is_large_move(ratio) or min(to_split, to_none) > bound or abs(to_split - to_none) < 0.1:
        before, since = bars.filter(pl.col("session") < session)["close"][-1], jump
        raise ConfigurationError(
            f"the stored prices of {ticker} go from {before:g} to {before / since:g} on {session}, which does not show "
            f"whether they lack a factor of {ratio:g}; check the ratio, and add --lacking to restate the earlier "
            "bars, or --no-lacking if they are already adjusted by it"
        )
    return bool(to_split < to_none)
