"""The interface of every source of bars: `PriceSource`, and the `Delivery` that it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import polars as pl

from ldtm_lib.errors import LdtmError
from ldtm_lib.prices.splits import Split
from ldtm_lib.wording import named

NUM_LISTED = 20
"""Items of a note; more are counted."""
GROUP_OF_TICKERS = 100
"""Tickers of a fetch from a source that has no limit of its own: 20 years of them are 0.5 million bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The answer to one request: bars of BAR_SCHEMA, and for every ticker without bars the reason."""

    bars: pl.DataFrame
    places: pl.DataFrame | None = None
    """The place of each bar in its file or answer: columns of KEY and `place`, such as "AAPL.csv, line 7"."""
    splits: tuple[Split, ...] = ()
    """Splits that the source knows of and has applied to the bars."""
    failures: Mapping[str, LdtmError] = field(default_factory=dict[str, LdtmError])
    notes: tuple[str, ...] = ()
    """Notes for the operator, such as a jump that looks like an undeclared split."""
    listings: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Notes on several tickers: a sentence with `{}`, and the items that stand there. See `listing_notes`."""
    basis: Mapping[str, date] = field(default_factory=dict[str, date])
    """The session up to which splits are applied, by ticker; that of its newest bar for a ticker that is not named."""
    splits_from: Mapping[str, date] = field(default_factory=dict[str, date])
    """The day from which splits are complete, by ticker; that of its first bar for a ticker that is not named."""
    ignored: tuple[str, ...] = ()
    """Parts of the source left aside: files of no asked ticker, and those that could not be read with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCoverage:
    """Availability of some tickers in a source, as far as it is known without reading bars."""

    lacking: tuple[str, ...] = ()
    """Tickers that have nothing of their own, in the order asked."""
    num_shared_files: int = 0
    """Files that name their tickers inside, and may hold those."""
    unreadable: tuple[str, ...] = ()
    """Reasons why files that are named after tickers do not count, by their headers."""


def listing_notes(listings: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """One note for each sentence, with at most NUM_LISTED of its items and the number of the others."""
    return tuple(sentence.replace("{}", named(items, NUM_LISTED)) for sentence, items in listings.items())


class PriceSource(Protocol):
    """A source from which bars can be fetched."""

    @property
    def name(self) -> str:
        """The name under which the bars are recorded."""
        ...

    @property
    def tickers_per_fetch(self) -> int | None:
        """Largest number of tickers for one fetch; None for a source that reads the same files for each fetch."""
        ...

    def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
        """The bars of some tickers from one session to another, both included.

        They are split-adjusted, dividends not taken out, on the price basis after the close of `last`. A ticker that
        the source lacks, or that has no bar in the range, is named in the delivery's failures; it affects no others.
        """
        ...

    def coverage(self, tickers: Sequence[str]) -> SourceCoverage:
        """Availability of some tickers in the source; quick, no bar is read."""
        ...
