"""Splits ahead: a split takes effect with its session, and is recorded once that session has closed.

Sources announce splits, and some adjust their prices before the session has traded. Until then the stored bars stay on
the basis before the split, and so do delivered ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from ldtm_lib.prices.adjustment import Adjusted
from ldtm_lib.prices.bars import KEY
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.split_inference import common_closes
from ldtm_lib.prices.splits import Split, adjust, is_same_price


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitsAhead:
    """The declared splits of a delivery whose sessions have not closed."""

    splits: tuple[Split, ...]
    newest_closed: date

    @classmethod
    def of(cls, delivery: Delivery, newest_closed: date) -> "SplitsAhead":
        """The splits ahead of a delivery."""
        return cls(
            splits=tuple(split for split in delivery.splits if split.session > newest_closed),
            newest_closed=newest_closed,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """A note on each split."""
        return tuple(_note(split) for split in self.splits)

    def without(self, delivery: Delivery) -> Delivery:
        """The delivery without these splits; its bars are unchanged."""
        return replace(delivery, splits=tuple(split for split in delivery.splits if split not in self.splits))

    def on_the_basis_before(self, bars: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
        """Delivered bars; those of the tickers of these splits are put on the basis before the splits.

        Bars stay unchanged if common bars show that the source has not adjusted its prices yet. Of adjusted bars, which
        may be rounded to cents, stored sessions are left out.
        """
        early = [ticker for ticker in sorted({s.ticker for s in self.splits}) if not _is_before(ticker, bars, stored)]
        if not early:
            return bars
        undone = [Split(ticker=s.ticker, session=s.session, ratio=1 / s.ratio) for s in self.splits]
        is_early = pl.col("ticker").is_in(early)
        own = adjust(bars.filter(is_early), undone).join(stored, on=KEY, how="anti")
        return pl.concat([bars.filter(~is_early), own]).sort(KEY)

    def held_back(self, adjusted: Mapping[str, Adjusted]) -> dict[str, Adjusted]:
        """The adjusted deliveries; one that shows an undeclared split ahead is not recorded."""
        return {
            ticker: self._held_back(ticker, each)
            if any(split.session > self.newest_closed for split in each.inferred)
            else each
            for ticker, each in adjusted.items()
        }

    def _held_back(self, ticker: str, adjusted: Adjusted) -> Adjusted:
        ahead = next(split for split in adjusted.inferred if split.session > self.newest_closed)
        note = f"{_note(ahead)}; its bars are recorded from then on as well"
        return Adjusted(bars=adjusted.bars.clear(), unapplied=(), applied=(), notes=(note,))


def _is_before(ticker: str, bars: pl.DataFrame, stored: pl.DataFrame) -> bool:
    """True if most common bars of a ticker have the stored prices; False without common bars."""
    own = pl.col("ticker") == ticker
    _, old, new = common_closes(stored.filter(own), bars.filter(own))
    return len(old) > 0 and 2 * int(is_same_price(old, new).sum()) > len(old)


def _note(split: Split) -> str:
    return f"{split.ticker}: the split of {split.ratio:g} for 1 is recorded once session {split.session} has closed"
