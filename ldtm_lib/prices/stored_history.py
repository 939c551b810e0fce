"""Stored history: the bars and splits on record of a delivery's tickers, read in a constant number of statements."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import date

import polars as pl

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.prices.split_corrections import Origin
from ldtm_lib.prices.split_inference import StoredHistory
from ldtm_lib.prices.splits import Split
from ldtm_lib.prices.stored_bars import current_bars

WITHDRAWN = 1e-9
"""Largest distance of the product of a session's rows from 1 if its split was withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The newest stored session of a ticker, and the stored bar before the first delivered one."""

    newest: date
    session_before: date | None
    close_before: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistories:
    """Current bars, splits and edges of some tickers."""

    bars: pl.DataFrame
    """Current bars of the delivered range."""
    whole_histories: pl.DataFrame
    """All current bars of the tickers with a newly declared split, or with stored bars after the delivery."""
    splits: Mapping[str, tuple[Split, ...]]
    """Splits that count, one a session."""
    origins: Mapping[str, Mapping[date, Origin]]
    restated: Mapping[str, Set[date]]
    edges: Mapping[str, Edge]
    """Only tickers with stored bars have an edge."""

    def of(self, ticker: str) -> StoredHistory:
        """The stored history of one ticker; all of it if that was read."""
        edge = self.edges.get(ticker)
        own = pl.col("ticker") == ticker
        history = self.whole_histories.filter(own)
        return StoredHistory(
            bars=self.bars.filter(own) if history.is_empty() else history,
            splits=self.splits.get(ticker, ()),
            origins=self.origins.get(ticker, {}),
            restated=self.restated.get(ticker, frozenset()),
            newest=edge.newest if edge else None,
            session_before=edge.session_before if edge else None,
            close_before=edge.close_before if edge else None,
        )


def read_stored_histories(conn: Connection, delivered: pl.DataFrame, declared: Iterable[Split]) -> StoredHistories:
    """Read the stored history of the tickers that a delivery has bars or splits of."""
    declared = tuple(declared)
    ranges = delivered.group_by("ticker").agg(first=pl.col("session").min(), last=pl.col("session").max())
    firsts: dict[str, date | None] = dict.fromkeys(split.ticker for split in declared)
    firsts |= dict(ranges.select("ticker", "first").iter_rows())
    tickers = {"tickers": list(firsts), "firsts": list(firsts.values())}
    edges = {
        ticker: Edge(newest=newest, session_before=before, close_before=close)
        for ticker, newest, before, close in conn.execute(query("prices.edges"), tickers)
    }
    origins: dict[str, dict[date, Origin]] = defaultdict(dict)
    on_record: list[Split] = []
    restated: dict[str, set[date]] = defaultdict(set)
    for ticker, session, ratio, origin, restating_ratio in conn.execute(query("prices.known_splits"), tickers):
        origins[ticker][session] = origin
        if abs(restating_ratio - 1) > WITHDRAWN:
            restated[ticker].add(session)
        if abs(ratio - 1) > WITHDRAWN:
            on_record.append(Split(ticker=ticker, session=session, ratio=ratio))
    splits = by_ticker(on_record)
    unknown = {split.ticker for split in declared if split not in splits.get(split.ticker, ())}
    goes_on = {ticker for ticker, _, last in ranges.iter_rows() if ticker in edges and edges[ticker].newest > last}
    first, last = _range(delivered)
    return StoredHistories(
        bars=current_bars(conn, sorted(edges), first=first, last=last),
        whole_histories=current_bars(conn, sorted((unknown & edges.keys()) | goes_on)),
        splits=splits,
        origins=origins,
        restated=restated,
        edges=edges,
    )


def by_ticker(splits: Iterable[Split]) -> dict[str, tuple[Split, ...]]:
    """Splits by their ticker, in the order given."""
    grouped: dict[str, list[Split]] = defaultdict(list)
    for split in splits:
        grouped[split.ticker].append(split)
    return {ticker: tuple(own) for ticker, own in grouped.items()}


def _range(bars: pl.DataFrame) -> tuple[date | None, date | None]:
    """The first and last session; a range without sessions if there are no bars."""
    if bars.is_empty():
        return date.max, date.min
    sessions = bars["session"].sort()
    return sessions[0], sessions[-1]
