"""Fetches in groups of tickers: the same record as one delivery, and what an interruption leaves."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import count

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ldtm_lib.database.connection import Database
from ldtm_lib.errors import ConfigurationError, MissingBar, SourceError
from ldtm_lib.prices.bars import KEY
from ldtm_lib.prices.group_fetch import FetchReport, OpenSource, fetch_and_ingest
from ldtm_lib.prices.sources.protocol import Delivery, SourceCoverage
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import FIRST_DAY, Calendar
from tests.databases import create_database, drop_database, url_of
from tests.integration.prices.made_bars import made, walk

LAST = date(2002, 12, 31)
NUM_BARS = 60
SPLIT_AT = 40
TICKERS = ("ABSENT", "BASES", "CALM", "DECLARED", "HELD", "INFERRED", "INVALID", "LOTS", "NEW", "SPIKE", "UNIT")
NUMBERS = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A source that has one delivery, and gives the part of it that is asked for."""

    delivery: Delivery
    tickers_per_fetch: int | None
    name: str = "made"

    def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
        whole, own = self.delivery, pl.col("ticker").is_in(list(tickers))
        bars = whole.bars.filter(own & pl.col("session").is_between(first, last))
        return replace(
            whole,
            bars=bars,
            splits=tuple(split for split in whole.splits if split.ticker in tickers),
            failures={
                ticker: MissingBar(f"no bar of {ticker}") for ticker in tickers if ticker not in set(bars["ticker"])
            },
            notes=("a note on all of them",),
            listings={"begins late: {}; look": tuple(ticker for ticker in tickers if ticker == "NEW")},
        )

    def coverage(self, tickers: Sequence[str]) -> SourceCoverage:
        return SourceCoverage()


def deliveries(calendar: Calendar) -> list[Delivery]:
    """What is stored first, and what comes later: splits, outliers, other units, bars on another basis."""
    closes = {ticker: walk(NUM_BARS, 50.0 + 10 * number) for number, ticker in enumerate(TICKERS)}
    bars = {ticker: made(calendar, closes[ticker], ticker) for ticker in TICKERS if ticker != "ABSENT"}
    before = [bars[ticker].head(50) for ticker in bars if ticker != "NEW"]
    price = pl.col("open", "high", "low", "close")
    session = bars["CALM"]["session"]
    later = bars | {
        "BASES": bars["BASES"].with_columns(price * 0.37),
        "DECLARED": bars["DECLARED"].with_columns(price / 2, pl.col("volume") * 2),
        "HELD": bars["HELD"].tail(5).with_columns(price * 0.2),
        "INFERRED": bars["INFERRED"].with_columns(price / 4, pl.col("volume") * 4),
        "INVALID": bars["INVALID"].with_columns(high=pl.when(pl.int_range(pl.len()) > 52).then(1.0).otherwise("high")),
        "LOTS": bars["LOTS"].with_columns(pl.col("volume") / 100),
        "SPIKE": bars["SPIKE"].with_columns(
            pl.when(pl.col("session") == session[54]).then(price * 50).otherwise(price).name.keep()
        ),
        "UNIT": bars["UNIT"].with_columns(
            pl.when(pl.col("session") >= session[58]).then(price * 100).otherwise(price).name.keep()
        ),
    }
    declared = Split(ticker="DECLARED", session=session[SPLIT_AT], ratio=2.0)
    return [
        Delivery(bars=pl.concat(before).sort(KEY)),
        Delivery(bars=pl.concat(later.values()).sort(KEY), splits=(declared,)),
    ]


def in_groups(
    database: Database, calendar: Calendar, tickers_per_fetch: int | None
) -> tuple[list[FetchReport], dict[str, pl.DataFrame]]:
    """Fetch both deliveries; returns the reports and the tables, without the moments that differ."""
    reports = [
        fetch_and_ingest(
            database, opens(delivery, tickers_per_fetch), {(FIRST_DAY, LAST): TICKERS}, source="made", calendar=calendar
        )
        for delivery in deliveries(calendar)
    ]
    return reports, tables(database)


def opens(delivery: Delivery, tickers_per_fetch: int | None) -> OpenSource:
    return lambda moment: Whole(delivery=delivery, tickers_per_fetch=tickers_per_fetch)


def tables(database: Database) -> dict[str, pl.DataFrame]:
    statements = {
        "bars": b"select ticker, session, open, high, low, close, volume, source, "
        b"dense_rank() over (partition by ticker order by recorded_at) from bar order by ticker, session, recorded_at",
        "splits": b"select ticker, session, ratio, origin from split order by ticker, session, split_id",
        "refused": b"select ticker, session, reason, bar::text, source, resolved_at is null from quarantined_bar"
        b" order by ticker, session, reason, bar::text",
    }
    with database.transaction() as conn:
        return {
            name: pl.DataFrame(conn.execute(sql).fetchall(), orient="row", infer_schema_length=None)
            for name, sql in statements.items()
        }


@contextmanager
def another(server_url: str, template: str) -> Iterator[Database]:
    name = f"ldtm_groups_{os.getpid()}_{next(NUMBERS)}"
    create_database(server_url, name, template)
    try:
        yield Database(url=url_of(server_url, name), schema="ldtm")
    finally:
        drop_database(server_url, name)


def test_groups_of_any_size_record_what_one_delivery_does(server_url: str, template: str, calendar: Calendar) -> None:
    with another(server_url, template) as database:
        expected, whole = in_groups(database, calendar, None)
    later = expected[1]
    assert set(later.failures) == {"ABSENT"}
    assert {"BASES", "HELD"} & set(later.held_back), "a delivery on another basis is part of the comparison"
    assert {split.ticker for split in later.splits} == {"DECLARED", "INFERRED"}
    assert set(whole["refused"]["column_0"]) == {"INVALID", "SPIKE", "UNIT"}
    assert any("LOTS" in note for note in later.notes)
    for tickers_per_fetch in (1, 2, 5):
        with another(server_url, template) as database:
            reports, grouped = in_groups(database, calendar, tickers_per_fetch)
        for name, frame in whole.items():
            assert_frame_equal(grouped[name], frame, check_exact=True)
        for one, other in zip(reports, expected, strict=True):
            assert_frame_equal(one.per_ticker, other.per_ticker, check_exact=True)
            assert sorted(one.splits, key=str) == sorted(other.splits, key=str)
            assert sorted(one.notes) == sorted(other.notes)
            assert one.held_back == other.held_back
            assert {t: str(error) for t, error in one.failures.items()} == {
                t: str(error) for t, error in other.failures.items()
            }


def test_notes_are_told_once_and_listings_are_joined(database: Database, calendar: Calendar) -> None:
    reports, _ = in_groups(database, calendar, 2)
    assert reports[0].notes.count("a note on all of them") == 1
    assert [note for note in reports[0].notes if "begins late" in note] == ["begins late: NEW; look"]


def test_an_interrupted_fetch_keeps_the_groups_that_came(database: Database, calendar: Calendar) -> None:
    (first, _), num_fetches = deliveries(calendar), count(1)

    def interrupted(moment: datetime) -> Whole:
        if next(num_fetches) == 3:
            raise KeyboardInterrupt
        return Whole(delivery=first, tickers_per_fetch=3)

    with pytest.raises(KeyboardInterrupt):
        fetch_and_ingest(database, interrupted, {(FIRST_DAY, LAST): TICKERS}, source="made", calendar=calendar)
    assert set(tables(database)["bars"]["column_0"]) == {"BASES", "CALM", "DECLARED", "HELD", "INFERRED"}


def test_a_fetch_that_fails_as_a_whole_takes_only_its_group_along(database: Database, calendar: Calendar) -> None:
    (first, _), num_fetches = deliveries(calendar), count(1)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Failing(Whole):
        def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
            if next(num_fetches) == 2:
                raise SourceError("the service is down")
            return Whole.fetch(self, tickers, first, last)

    report = fetch_and_ingest(
        database,
        lambda moment: Failing(delivery=first, tickers_per_fetch=3),
        {(FIRST_DAY, LAST): TICKERS},
        source="made",
        calendar=calendar,
    )
    assert {t: str(e) for t, e in report.failures.items()} == {
        "ABSENT": "no bar of ABSENT",
        "DECLARED": "the service is down",
        "HELD": "the service is down",
        "INFERRED": "the service is down",
        "NEW": "no bar of NEW",
    }
    assert report.notes.count("the service is down") == 1


def test_a_source_that_cannot_be_opened_is_opened_once(database: Database, calendar: Calendar) -> None:
    num_opened = count()

    def closed(moment: datetime) -> Whole:
        next(num_opened)
        raise ConfigurationError("source.basis is not set")

    report = fetch_and_ingest(database, closed, {(FIRST_DAY, LAST): TICKERS}, source="made", calendar=calendar)
    assert (set(report.failures), report.notes, report.per_ticker.height) == (
        set(TICKERS),
        ("source.basis is not set",),
        0,
    )
    assert next(num_opened) == 1


def test_no_range_gives_an_empty_report(database: Database, calendar: Calendar) -> None:
    report = fetch_and_ingest(database, opens(Delivery(bars=pl.DataFrame()), 1), {}, source="made", calendar=calendar)
    assert report.per_ticker.columns == ["ticker", "num_new", "num_restated", "num_unchanged", "num_refused"]
