"""What the peer has to sell: bars by symbol, as they stand at a moment by its own clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from ldtm_lib.sessions import Calendar

NEW_YORK = ZoneInfo("America/New_York")
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One contract that goes by a symbol."""

    symbol: str
    con_id: int
    primary_exchange: str = "NASDAQ"
    currency: str = "USD"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterSplit:
    """A split that the bars are adjusted for from a moment on; before that moment nobody has heard of it."""

    symbol: str
    session: date
    ratio: float
    applied_from: datetime


class Market:
    """Bars by symbol; what of them is served follows from a clock."""

    def __init__(
        self,
        bars: pl.DataFrame,
        calendar: Calendar,
        clock: Callable[[], datetime],
        *,
        listings: Sequence[Listing] = (),
        splits: Sequence[LaterSplit] = (),
        partial: bool = False,
    ) -> None:
        """`bars` has the columns of BAR_SCHEMA, its tickers being IB's symbols; those without a listing get one each.

        With `partial`, the session that trades at the moment has a bar too, of which only a part is known.
        """
        self.calendar, self.clock, self.partial = calendar, clock, partial
        self.withheld: frozenset[str] = frozenset()
        """Symbols whose newest bar has not come in yet."""
        self._bars = {
            str(key[0]): own.sort("session") for key, own in bars.partition_by("ticker", as_dict=True).items()
        }
        self._splits = tuple(splits)
        self._texts: dict[tuple[str, int], list[str]] = {}
        named = {listing.symbol for listing in listings}
        self.listings = (
            *listings,
            *(Listing(symbol=symbol, con_id=1000 + n) for n, symbol in enumerate(self._bars) if symbol not in named),
        )

    def candidates(self, fields: Mapping[str, str]) -> list[Listing]:
        """The contracts that a description fits."""
        if fields["con_id"] not in ("", "0"):
            return [listing for listing in self.listings if str(listing.con_id) == fields["con_id"]]
        return [
            listing
            for listing in self.listings
            if listing.symbol == fields["symbol"]
            and listing.currency == fields["currency"]
            and fields["primary_exchange"] in ("", listing.primary_exchange)
        ]

    def rows(self, symbol: str, end: str, duration: str) -> list[str]:
        """The bars of a request as they go over the wire, one text a bar."""
        moment = self.clock()
        until = min(moment, _moment(end)) if end else moment
        sessions = self._bars[symbol]["session"].to_numpy()
        first = _start(until.astimezone(NEW_YORK).date(), duration)
        newest, is_partial = self._newest(until, moment)
        newest_known, _ = self._newest(moment, moment)
        num_known = int(np.searchsorted(sessions, np.datetime64(newest_known), side="right")) - (
            symbol in self.withheld
        )
        at = int(np.searchsorted(sessions, np.datetime64(first)))
        stop = min(int(np.searchsorted(sessions, np.datetime64(newest), side="right")), num_known)
        texts = self._written(symbol, moment)[at:stop]
        if is_partial and len(texts) and sessions[stop - 1] == np.datetime64(newest):
            texts[-1] = _row(*self._bars[symbol].row(stop - 1)[1:], share=0.5)
        return texts

    def _newest(self, until: datetime, moment: datetime) -> tuple[date, bool]:
        """The newest session that has a bar, and whether it still trades."""
        closed = self.calendar.last_closed(until)
        following = self.calendar.offset(closed, 1)
        trades = self.partial and self.calendar.opens_at(following) <= min(until, moment)
        return (following, True) if trades else (closed, False)

    def _written(self, symbol: str, moment: datetime) -> list[str]:
        applied = [s for s in self._splits if s.symbol == symbol and s.applied_from <= moment]
        key = (symbol, len(applied))
        if key not in self._texts:
            bars = self._bars[symbol]
            for split in applied:
                before = pl.col("session") < split.session
                bars = bars.with_columns(
                    *(pl.when(before).then(pl.col(p) / split.ratio).otherwise(pl.col(p)).alias(p) for p in PRICES),
                    pl.when(before).then(pl.col("volume") * split.ratio).otherwise(pl.col("volume")).alias("volume"),
                )
            columns = bars.select("session", *PRICES, "volume")
            self._texts[key] = [_row(*row) for row in columns.iter_rows()]
        return self._texts[key]


def _row(
    session: date, opens: float, high: float, low: float, close: float, volume: float, *, share: float = 1.0
) -> str:
    """date, open, high, low, close, volume, average, number of trades; a share of the day has that share of volume."""
    close = opens + (close - opens) * share
    values = (opens, max(opens, close) if share < 1 else high, min(opens, close) if share < 1 else low, close)
    prices = "\0".join(map(repr, values))
    return f"{session:%Y%m%d}\0{prices}\0{volume * share:.0f}\0{(opens + close) / 2!r}\0{int(volume // 100)}\0"


def _moment(end: str) -> datetime:
    """The end of a request: YYYYMMDD HH:MM:SS UTC, or YYYYMMDD-HH:MM:SS, which is UTC as well."""
    return datetime.strptime(end.removesuffix(" UTC").replace("-", " "), "%Y%m%d %H:%M:%S").replace(tzinfo=UTC)


def _start(last: date, duration: str) -> date:
    """The first day of so many days or years that end with a day."""
    number, unit = duration.split(" ")
    if unit == "D":
        return last - timedelta(days=int(number) - 1)
    if unit == "Y":
        return last - timedelta(days=round(int(number) * 365.25) - 1)
    raise ValueError(f"no daily bars for a duration of {duration}")
