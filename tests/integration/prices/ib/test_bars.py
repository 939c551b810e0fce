"""What is asked of IB, and what becomes of its bars."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ldtm_lib.errors import MissingBar
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.sources.protocol import listing_notes
from ldtm_lib.sessions import FIRST_DAY, exchange_calendar
from ldtm_lib.settings import ContractConfig
from tests.integration.prices.ib.asking import (
    AFTER_CLOSE,
    FIRST,
    IDENTICAL_SECONDS,
    LAST,
    NUM_SESSIONS,
    SYMBOLS,
    WALKS,
    asked_of,
    fetch,
    peer_of,
    source_of,
    whole,
)  # fmt: skip
from tests.integration.prices.ib.market import LaterSplit, Listing
from tests.integration.prices.ib.reactions import LinkLost, Short, Silence
from tests.integration.prices.ib.standalone import random_walks


def test_the_bars_of_a_week_arrive_as_ib_has_them() -> None:
    with peer_of() as peer:
        delivery = fetch(peer)
    assert delivery.bars.schema == BAR_SCHEMA
    assert (delivery.bars.height, delivery.failures, delivery.notes) == (4 * NUM_SESSIONS, {}, ())
    assert whole(delivery, *SYMBOLS)


def test_daily_trades_of_regular_hours_are_asked_for_once_a_ticker() -> None:
    with peer_of() as peer:
        source_of(peer).fetch(["MSFT", "AAPL", "MSFT"], FIRST, LAST)
    assert sorted((a.symbol, a.end, a.duration, a.bar_size, a.what, a.regular_hours) for a in peer.asked) == [
        ("AAPL", "", "9 D", "1 day", "TRADES", "1"),
        ("MSFT", "", "9 D", "1 day", "TRADES", "1"),
    ]


def test_twenty_years_are_one_request() -> None:
    with peer_of() as peer:
        delivery = source_of(peer).fetch(["AAPL"], FIRST_DAY, LAST)
    assert [asked.duration for asked in peer.asked] == ["37 Y"]
    assert delivery.bars.height == WALKS.filter(ticker="AAPL").filter(pl.col("session") <= LAST).height > 5_000


def test_a_long_history_of_which_little_came_is_noted_with_its_first_session_and_its_bars() -> None:
    with peer_of() as peer:
        peer.script("AAPL", Short(250))
        delivery = source_of(peer).fetch(["AAPL", "MSFT"], date(2004, 1, 2), LAST)
        peer.script("AAPL", Short(3))
        week = fetch(peer, ["AAPL"])
    begun = exchange_calendar().between(date(2025, 1, 2), LAST)[-250]
    assert listing_notes(delivery.listings) == (
        f"IB's bars since 2004-01-02 begin late for AAPL on {begun} (250 bars); if a ticker was listed "
        "before, materialize its price_history, or import its older bars from files with `ldtm prices import`",
    )
    assert delivery.failures == {}
    assert (delivery.notes, week.notes, week.listings) == ((), (), {})


@pytest.mark.parametrize(
    ("first", "last", "end", "duration"),
    [
        (date(2026, 11, 20), date(2026, 11, 20), "", "2 D"),
        (date(2026, 11, 2), date(2026, 11, 6), "20261106 23:59:59 UTC", "6 D"),
        (date(2024, 2, 26), date(2024, 2, 29), "20240229 23:59:59 UTC", "5 D"),
        (date(2025, 11, 21), date(2026, 11, 20), "", "2 Y"),
        (date(2015, 1, 2), date(2016, 12, 30), "20161230 23:59:59 UTC", "3 Y"),
    ],
)
def test_only_what_is_missing_is_asked_for(first: date, last: date, end: str, duration: str) -> None:
    with peer_of() as peer:
        delivery = source_of(peer).fetch(["AAPL"], first, last)
    assert [(asked.end, asked.duration) for asked in peer.asked] == [(end, duration)]
    expected = WALKS.filter(ticker="AAPL").filter(pl.col("session").is_between(first, last))
    assert delivery.bars.equals(expected)


@pytest.mark.parametrize("hours_after_the_close", [0.0, 20.0, 60.0])
def test_a_span_that_ended_on_a_weekend_evening_is_whole(hours_after_the_close: float) -> None:
    moment = exchange_calendar().closes_at(LAST) + timedelta(minutes=15, hours=hours_after_the_close)
    with peer_of(clock=lambda: moment) as peer:
        assert whole(fetch(peer, moment=moment), *SYMBOLS)


def test_never_more_requests_are_open_than_configured_and_as_many_as_that() -> None:
    walks = random_walks(tuple(f"T{n}" for n in range(12)), first=date(2026, 11, 2))
    with peer_of(walks, latency_seconds=0.05) as peer:
        delivery = fetch(peer, sorted(set(walks["ticker"])), requests_in_flight=4)
    assert (delivery.bars.height, peer.most_open, peer.num_connections) == (12 * NUM_SESSIONS, 4, 1)


def test_two_fetches_of_one_source_do_not_repeat_a_request_too_soon() -> None:
    with peer_of() as peer:
        source = source_of(peer)
        assert [whole(source.fetch(["AAPL"], FIRST, LAST), "AAPL") for _ in range(2)] == [True, True]
    assert peer.asked[1].at - peer.asked[0].at >= IDENTICAL_SECONDS
    assert peer.num_broken_rules == 0


def test_the_unfinished_bar_of_a_session_that_trades_is_dropped() -> None:
    midday = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
    with peer_of(clock=lambda: midday, partial=True) as peer:
        assert len(peer.market.rows("AAPL", "", "1 D")) == 1
        delivery = fetch(peer, ["AAPL"], moment=midday)
    assert delivery.bars["session"].max() == date(2026, 11, 19)
    assert delivery.basis == {"AAPL": date(2026, 11, 19)}


def test_an_unfinished_bar_alone_is_a_failure() -> None:
    midday = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
    with peer_of(clock=lambda: midday, partial=True) as peer:
        delivery = source_of(peer, moment=midday).fetch(["AAPL"], LAST, LAST)
    assert delivery.bars.is_empty()
    assert "the bar of 2026-11-20 is final only 10 minutes after the close at 21:00 UTC" in str(
        delivery.failures["AAPL"]
    )


@pytest.mark.parametrize(
    ("session", "minutes", "newest"),
    [
        (date(2026, 11, 20), 9, date(2026, 11, 19)),
        (date(2026, 11, 20), 10, date(2026, 11, 20)),
        (date(2026, 11, 27), 9, date(2026, 11, 25)),
        (date(2026, 11, 27), 10, date(2026, 11, 27)),
    ],
)
def test_a_bar_is_final_ten_minutes_after_the_close_also_of_a_short_day(
    session: date, minutes: int, newest: date
) -> None:
    moment = exchange_calendar().closes_at(session) + timedelta(minutes=minutes)
    with peer_of(clock=lambda: moment) as peer:
        delivery = source_of(peer, moment=moment).fetch(["AAPL"], FIRST, session)
    assert delivery.bars["session"].max() == newest
    assert delivery.basis == {"AAPL": session}


def test_bars_are_adjusted_for_a_split_that_came_after_them() -> None:
    split = LaterSplit(symbol="AAPL", session=date(2026, 11, 18), ratio=4.0, applied_from=AFTER_CLOSE)
    with peer_of(splits=[split]) as peer:
        delivery = source_of(peer).fetch(["AAPL"], date(2026, 11, 9), date(2026, 11, 13))
    stored = WALKS.filter(ticker="AAPL").filter(pl.col("session").is_between(date(2026, 11, 9), date(2026, 11, 13)))
    assert delivery.bars.select(pl.col("close") * 4)["close"].to_list() == stored["close"].to_list()
    assert delivery.basis == {"AAPL": LAST}
    assert delivery.splits == ()


def test_a_ticker_whose_newest_bar_is_late_has_the_others() -> None:
    with peer_of() as peer:
        peer.market.withheld = frozenset({"MSFT"})
        delivery = fetch(peer, ["AAPL", "MSFT"])
        alone = source_of(peer).fetch(["MSFT"], LAST, LAST)
    assert delivery.bars.filter(ticker="MSFT")["session"].max() == date(2026, 11, 19)
    assert whole(delivery, "AAPL")
    assert isinstance(alone.failures["MSFT"], MissingBar)
    assert "IB's bars of MSFT go from 2026-11-19 to 2026-11-19, none from 2026-11-20" in str(alone.failures["MSFT"])


def test_a_contract_is_chosen_by_its_configuration() -> None:
    two = [
        Listing(symbol="META", con_id=7, primary_exchange="NASDAQ"),
        Listing(symbol="META", con_id=8, primary_exchange="NYSE"),
        Listing(symbol="BRK B", con_id=9, primary_exchange="NYSE"),
    ]
    walks = random_walks(("META", "BRK B"), first=date(2026, 11, 2))
    with peer_of(walks, listings=two) as peer:
        by_exchange = fetch(peer, ["META"], contracts={"META": ContractConfig(primary_exchange="NYSE")})
        by_number = fetch(peer, ["META"], contracts={"META": ContractConfig(con_id=7)})
        by_spelling = fetch(peer, ["BRK.B"], contracts={"BRK.B": ContractConfig(symbol="BRK B")})
    assert [d.bars.height for d in (by_exchange, by_number, by_spelling)] == [NUM_SESSIONS] * 3
    assert set(by_spelling.bars["ticker"]) == {"BRK.B"}
    assert [asked.con_id for asked in peer.asked] == ["0", "7", "0"]


def test_nothing_is_asked_of_orders_positions_and_accounts() -> None:
    with peer_of() as peer:
        peer.script("AAPL", LinkLost(0.1, requests_kept=True))
        assert whole(fetch(peer), *SYMBOLS)
    assert set(peer.received) == {"71", "20"}


def test_nothing_is_left_behind() -> None:
    with peer_of() as peer:
        before = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            fetch(peer)
        after = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
        assert peer.num_clients == 0
    assert after == before


def test_a_caller_that_runs_an_event_loop_of_its_own_is_left_alone() -> None:
    async def caller(peer: object) -> bool:
        delivery = fetch(peer, ["AAPL"])  # pyright: ignore[reportArgumentType]
        await asyncio.sleep(0)
        return whole(delivery, "AAPL")

    with peer_of() as peer:
        assert asyncio.run(caller(peer))


def test_fetches_in_several_threads_do_not_meet() -> None:
    answers: list[bool] = []
    with peer_of(latency_seconds=0.05) as peer:
        sources = [source_of(peer) for _ in range(3)]

        def work(n: int) -> None:
            answers.append(whole(sources[n].fetch([SYMBOLS[n]], FIRST, LAST), SYMBOLS[n]))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [True] * 3
    assert sorted(asked.client_id for asked in peer.asked) == [17, 18, 19]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt this process, although a shell that started it in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_caller_that_is_interrupted_waits_for_nothing_and_leaves_nothing() -> None:
    with peer_of() as peer:
        peer.script("AAPL", Silence())
        interrupt = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
        interrupt.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            fetch(peer, ["AAPL"])
        assert time.monotonic() - started < 20.0
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ib")]


def test_a_request_that_is_given_up_is_cancelled_at_tws() -> None:
    with peer_of() as peer:
        peer.script("AAPL", Silence())
        assert whole(fetch(peer, ["AAPL"], request_timeout_seconds=1.0), "AAPL")
    assert asked_of(peer, "AAPL") == 2
    assert "25" in peer.received
