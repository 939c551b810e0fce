"""Fetches of many tickers in groups, each of which is recorded before the next one is fetched.

An interrupted fetch keeps the groups that arrived; a source with a time limit for a fetch stays within it, however many
tickers are requested; and only the bars of one group are in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Database
from ldtm_lib.errors import LdtmError
from ldtm_lib.prices.bars import empty_bars
from ldtm_lib.prices.fetch_ranges import Range
from ldtm_lib.prices.ingest import ingest, no_counts
from ldtm_lib.prices.sources.protocol import Delivery, PriceSource, listing_notes
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import Calendar

OpenSource = Callable[[datetime], PriceSource]
"""Opens the source for a fetch at a moment by the database's clock; may raise LdtmError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    """Result of a fetch of all groups."""

    per_ticker: pl.DataFrame
    """The counts of `IngestReport.per_ticker`, sorted by ticker."""
    failures: Mapping[str, LdtmError]
    """The reason why the source delivered no bar, by ticker."""
    held_back: Mapping[str, str]
    """The reason why no delivered bar was recorded, by ticker."""
    splits: tuple[Split, ...]
    """Splits that were not on record before."""
    notes: tuple[str, ...]
    """Notes for the operator, each once."""


def fetch_and_ingest(
    database: Database,
    open_source: OpenSource,
    ranges: Mapping[Range, Sequence[str]],
    *,
    source: str,
    calendar: Calendar,
) -> FetchReport:
    """Fetch the bars of some tickers in each of some ranges, and record them under the name `source`.

    A ticker occurs in one range. Each group is recorded in its own transaction. If a fetch
    fails as a whole, every ticker of its group fails; if the source cannot be opened, every ticker of the range that is
    not fetched yet.
    """

    def open_now() -> PriceSource:
        with database.transaction() as conn:
            moment = now(conn)
        return open_source(moment)

    failures, held_back, listings = dict[str, LdtmError](), dict[str, str](), dict[str, tuple[str, ...]]()
    counts, splits, notes = [no_counts()], list[Split](), list[str]()
    for (first, last), tickers in ranges.items():
        for delivery in deliveries(open_now, tickers, first, last):
            with database.transaction() as conn:
                recorded = ingest(conn, delivery, source=source, calendar=calendar)
            failures |= delivery.failures
            held_back |= recorded.held_back
            counts.append(recorded.per_ticker)
            splits += recorded.splits
            notes += (*delivery.notes, *recorded.notes)
            for sentence, items in delivery.listings.items():
                listings[sentence] = (*listings.get(sentence, ()), *items)
    return FetchReport(
        per_ticker=pl.concat(counts).sort("ticker"),
        failures=failures,
        held_back=held_back,
        splits=tuple(splits),
        notes=tuple(dict.fromkeys((*notes, *listing_notes(listings)))),
    )


def deliveries(
    open_source: Callable[[], PriceSource], tickers: Sequence[str], first: date, last: date
) -> Iterator[Delivery]:
    """The deliveries of some tickers, one for each group.

    The source is opened again for each group, since a group that is fetched an hour later has the bars of that moment.
    """
    left = list(dict.fromkeys(tickers))
    while left:
        group = left
        try:
            source = open_source()
            group = left[: source.tickers_per_fetch]
            delivery = source.fetch(group, first, last)
        except LdtmError as error:
            delivery = Delivery(bars=empty_bars(), failures=dict.fromkeys(group, error), notes=(str(error),))
        yield delivery
        left = left[len(group) :]
