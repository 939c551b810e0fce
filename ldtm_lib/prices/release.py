"""Release: a quarantined bar that is right after all is recorded by hand, with the source that it came from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import LdtmError
from ldtm_lib.prices.bars import BAR_COLUMNS, BAR_SCHEMA, KEY, validate
from ldtm_lib.prices.ingest import add_bars, next_moment
from ldtm_lib.prices.quarantine import open_quarantine
from ldtm_lib.prices.splits import Split, adjust
from ldtm_lib.sessions import Calendar

REFUSED_SCHEMA = pl.Schema(
    {"quarantined_id": pl.Int64}
    | dict(BAR_SCHEMA)
    | {"reason": pl.String, "source": pl.String, "first_seen_at": pl.Datetime("us", "UTC")}
)


class BarNotReleasable(LdtmError):
    """A bar cannot be released from quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedBar:
    """A bar that was recorded from quarantine, on the price basis of the stored bars."""

    ticker: str
    session: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    source: str


def release(
    conn: Connection, ticker: str, session: date, calendar: Calendar, *, close: float | None = None
) -> ReleasedBar:
    """Record the quarantined bar of a session and close its refusals, within the caller's transaction.

    `close` chooses between several. Splits that were recorded since the bar arrived are applied to it. Raises
    BarNotReleasable if nothing of the session is in quarantine, if no bar of it is valid, or if several differ.
    """
    conn.execute(query("prices.lock"))
    rows = conn.execute(query("prices.refusals_of"), {"ticker": ticker, "session": session}).fetchall()
    refused = pl.DataFrame(rows, schema=REFUSED_SCHEMA, orient="row")
    if refused.is_empty():
        raise BarNotReleasable(
            f"no bar of {ticker} on {session} is in quarantine; `ldtm prices quarantine` lists those that are"
        )
    chosen = _only(_releasable(refused, calendar), close)
    since = conn.execute(query("prices.splits_since"), {"ticker": ticker, "moment": chosen["first_seen_at"][0]})
    splits = [Split(ticker=ticker, session=day, ratio=ratio) for day, ratio in since]
    bar = adjust(chosen.select(BAR_COLUMNS), splits).with_columns(chosen["source"])
    add_bars(conn, bar, next_moment(conn, bar))
    conn.execute(query("prices.resolve"), {"ids": refused["quarantined_id"].to_list()})
    return ReleasedBar(**bar.row(0, named=True))


def quarantined_bars(conn: Connection, calendar: Calendar) -> pl.DataFrame:
    """The bars in quarantine: ticker, session, reason, source, times, values of the bar, and `is_releasable`."""
    refused = open_quarantine(conn)
    values = [{name: _number(value) for name, value in json.loads(text).items()} for text in refused["bar"]]
    bars = refused.drop("bar").hstack(pl.DataFrame(values, schema=dict.fromkeys(BAR_COLUMNS[2:], pl.Float64)))
    return bars.with_columns(is_releasable=is_releasable(bars, calendar))


def is_releasable(refused: pl.DataFrame, calendar: Calendar) -> pl.Series:
    """True for quarantined bars that are valid by themselves; `refused` has BAR_COLUMNS and first_seen_at.

    A bar that arrived before its session closed is not: its values were not final.
    """
    keys = refused.select(pl.int_range(pl.len()).cast(pl.String).alias("ticker"), *BAR_COLUMNS[1:])
    valid = validate(keys, calendar).valid["ticker"].implode()
    is_final = [
        session is not None and session <= calendar.last_closed(moment)
        for session, moment in refused.select("session", "first_seen_at").iter_rows()
    ]
    return keys["ticker"].is_in(valid) & pl.Series(is_final, dtype=pl.Boolean)


def _releasable(refused: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """The quarantined bars of one session that may be recorded."""
    allowed = refused.filter(is_releasable(refused, calendar))
    if allowed.is_empty():
        ticker, session = refused.select(KEY).row(0)
        raise BarNotReleasable(
            f"the bar of {ticker} on {session} cannot be released, since it is not valid: {refused['reason'][-1]}; "
            "load a corrected bar"
        )
    return allowed


def _only(allowed: pl.DataFrame, close: float | None) -> pl.DataFrame:
    """The one bar to release; the same values from several sources, or for several reasons, are one bar."""
    ticker, session = allowed.select(KEY).row(0)
    bars = allowed.unique(BAR_COLUMNS, keep="first", maintain_order=True)
    chosen = bars if close is None else bars.filter(pl.col("close") == close)
    if len(chosen) == 1:
        return chosen
    which = (
        f"the bar of {ticker} on {session} with close {close:g} is not"
        if len(chosen) == 0
        else (f"several bars of {ticker} on {session} are")
    )
    raise BarNotReleasable(f"{which} in quarantine: choose one with --close, of {_listed(bars)}")


def _number(value: float | str | None) -> float | None:
    """A value of a quarantined bar; JSON has infinities and NaN as texts."""
    return None if value is None else float(value)


def _listed(bars: pl.DataFrame) -> str:
    rows: Sequence[tuple[float, float, str]] = bars.select("close", "volume", "source").rows()
    return "; ".join(f"close {close!r}, volume {volume:g} from {source}" for close, volume, source in rows)
