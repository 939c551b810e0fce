"""Hundreds of tickers over TWS's protocol: groups that meet the limit of a fetch, whatever happens to one of them."""

import time
from dataclasses import replace
from datetime import datetime

import polars as pl

from ldtm_lib.database.connection import Database
from ldtm_lib.prices.group_fetch import FetchReport, fetch_and_ingest
from ldtm_lib.prices.sources.ib.pacing import Pacer
from ldtm_lib.prices.sources.ib.source import IbSource
from ldtm_lib.prices.sources.protocol import listing_notes
from ldtm_lib.sessions import Calendar
from tests.integration.prices.ib.asking import FIRST, HASTE, LAST, NUM_SESSIONS, peer_of, source_of
from tests.integration.prices.ib.peer import PACING, TwsPeer
from tests.integration.prices.ib.reactions import Error, Restart, Short, Silence
from tests.integration.prices.ib.standalone import random_walks

TICKERS = tuple(f"T{number:03d}" for number in range(250))
WALKS = random_walks(TICKERS, first=FIRST)
LIMITS = {"requests_in_flight": 10, "request_timeout_seconds": 1.0, "fetch_timeout_seconds": 5.0}
PER_FETCH = 25
"""What these limits come to: five rounds of one second would take the whole time, and half of it is used."""


def fetched(database: Database, calendar: Calendar, peer: TwsPeer, pacer: Pacer) -> FetchReport:
    def opened(moment: datetime) -> IbSource:
        return source_of(peer, pacer=pacer, **LIMITS)

    return fetch_and_ingest(database, opened, {(FIRST, LAST): TICKERS}, source="ib", calendar=calendar)


def num_stored(database: Database) -> int:
    with database.transaction() as conn:
        row = conn.execute(b"select count(distinct ticker) from bar").fetchone()
    assert row is not None
    return row[0]


def test_a_group_is_what_comes_in_half_of_the_time_of_a_fetch() -> None:
    assert source_of(1, **LIMITS).tickers_per_fetch == PER_FETCH
    assert source_of(1).tickers_per_fetch == 90
    assert source_of(1, requests_in_flight=40, fetch_timeout_seconds=1.0).tickers_per_fetch == 40, "at least one round"


def test_250_tickers_that_take_longer_than_one_fetch_may_come_in_groups(database: Database, calendar: Calendar) -> None:
    with peer_of(WALKS, latency_seconds=0.25) as peer:
        at_once = source_of(peer, **LIMITS).fetch(TICKERS, FIRST, LAST)
        assert "the fetch ended after 5 s without its bars (other tickers took it)" in str(at_once.failures["T249"])
        time.sleep(HASTE.identical)
        report = fetched(database, calendar, peer, Pacer(HASTE))
        assert peer.num_broken_rules == 0
    assert (report.failures, report.notes) == ({}, ())
    assert report.per_ticker["num_new"].to_list() == [NUM_SESSIONS] * len(TICKERS)
    assert num_stored(database) == len(TICKERS)


def test_tickers_without_an_answer_fail_alone_and_other_groups_come(database: Database, calendar: Calendar) -> None:
    with peer_of(WALKS) as peer:
        for ticker in TICKERS[30:33]:
            peer.script(ticker, Silence(), Silence(), Silence())
        report = fetched(database, calendar, peer, Pacer(HASTE))
    assert set(report.failures) == set(TICKERS[30:33])
    assert num_stored(database) == len(TICKERS) - 3


def test_a_tws_that_falls_silent_for_good_is_given_up_in_the_group_after_it(
    database: Database, calendar: Calendar
) -> None:
    with peer_of(WALKS) as peer:
        peer.silent_connections = range(3, 1000)
        started = time.monotonic()
        report = fetched(database, calendar, peer, Pacer(HASTE))
        seconds = time.monotonic() - started
    assert seconds < 12.0, "each of eight groups would wait two seconds"
    assert set(report.failures) == set(TICKERS[2 * PER_FETCH :])
    assert "two connections were silent" in str(report.failures["T249"])


def test_a_tws_that_is_not_there_is_waited_for_once(database: Database, calendar: Calendar) -> None:
    with peer_of(WALKS) as peer:
        peer.start_outage()
        started = time.monotonic()
        report = fetched(database, calendar, peer, Pacer(replace(HASTE, first_connection=2.0)))
        seconds = time.monotonic() - started
    assert 2.0 <= seconds < 8.0, "each of ten groups would wait two seconds"
    assert set(report.failures) == set(TICKERS)
    assert len(set(map(str, report.failures.values()))) == 1
    assert str(report.failures["T249"]).startswith("cannot reach TWS or Gateway at")
    assert report.notes == ()


def test_a_tws_that_goes_away_in_the_middle_is_waited_for_once(database: Database, calendar: Calendar) -> None:
    with peer_of(WALKS) as peer:
        peer.script(TICKERS[PER_FETCH], Restart(60.0))
        started = time.monotonic()
        report = fetched(database, calendar, peer, Pacer(HASTE))
        seconds = time.monotonic() - started
    assert 5.0 <= seconds < 14.0, "each of nine groups would wait five seconds"
    assert not set(report.failures) & set(TICKERS[:PER_FETCH])
    assert set(report.failures) >= set(TICKERS[2 * PER_FETCH :])
    assert "the previous fetch waited 5 s for IB without success" in str(report.failures["T249"])
    assert num_stored(database) == len(TICKERS) - len(report.failures) >= PER_FETCH


def test_the_pauses_of_a_pacing_violation_hold_for_the_next_group(database: Database, calendar: Calendar) -> None:
    with peer_of(WALKS) as peer:
        for ticker in TICKERS[PER_FETCH - 10 : PER_FETCH]:
            peer.script(ticker, *[Error(162, PACING)] * 3)
        report = fetched(database, calendar, peer, Pacer(replace(HASTE, slow_down=1.0, longest=2.0)))
        at = {asked.symbol: asked.at for asked in peer.asked}
    assert set(report.failures) == set(TICKERS[PER_FETCH - 10 : PER_FETCH])
    assert at[TICKERS[PER_FETCH]] - at[TICKERS[PER_FETCH - 1]] >= 1.9, "the third violation in a row holds two seconds"


def test_late_beginnings_of_all_groups_are_one_note_with_few_names(database: Database, calendar: Calendar) -> None:
    walks = random_walks(TICKERS[:60], first=FIRST.replace(year=2024))
    with peer_of(walks) as peer:
        for ticker in TICKERS[:60]:
            peer.script(ticker, Short(3))
        pacer = Pacer(HASTE)
        report = fetch_and_ingest(
            database,
            lambda moment: source_of(peer, pacer=pacer, **LIMITS),
            {(FIRST.replace(year=2024), LAST): TICKERS[:60]},
            source="ib",
            calendar=calendar,
        )
    assert len(report.notes) == 1
    assert "T019 on 2026-11-18 (3 bars) and 40 more; if a ticker was listed before, materialize" in report.notes[0]


def test_a_listing_of_few_items_names_all() -> None:
    assert listing_notes({"late: {}; look": ("A", "B")}) == ("late: A, B; look",)
    assert pl.Series(listing_notes({})).is_empty()
