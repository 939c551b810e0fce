"""A TWS that takes requests and does not answer: told from one that is slow, and from one ticker that stays out."""

import time
from dataclasses import replace

from ldtm_lib.prices.sources.ib.pacing import Pacer
from tests.integration.prices.ib.asking import (
    FIRST,
    HASTE,
    LAST,
    NUM_SESSIONS,
    SYMBOLS,
    asked_of,
    fetch,
    peer_of,
    source_of,
    whole,
)
from tests.integration.prices.ib.reactions import Silence
from tests.integration.prices.ib.standalone import random_walks

MUTE = "accepts the logon and answers nothing: two connections were silent for 0.5 s each"
EVERY_ONE = range(1, 100)


def test_requests_that_are_answered_one_after_the_other_are_not_silent() -> None:
    walks = random_walks(tuple(f"T{n}" for n in range(40)), first=FIRST.replace(day=2))
    with peer_of(walks, latency_seconds=0.1) as peer:
        peer.is_serial = True
        delivery = fetch(peer, sorted(set(walks["ticker"])), request_timeout_seconds=1.0, requests_in_flight=20)
        assert peer.most_open == 20
    assert (delivery.failures, delivery.bars.height) == ({}, 40 * NUM_SESSIONS)
    assert (len(peer.asked), peer.num_connections) == (40, 1)


def test_a_connection_that_falls_silent_is_replaced_once() -> None:
    with peer_of() as peer:
        peer.silent_connections = {1}
        delivery = fetch(peer, request_timeout_seconds=0.5)
    assert whole(delivery, *SYMBOLS)
    assert (peer.num_connections, len(peer.asked)) == (2, 8)
    assert delivery.notes == (f"the connection to 127.0.0.1:{peer.port} fell silent and was opened again",)


def test_two_silent_connections_end_the_fetch_with_one_reason_for_all() -> None:
    walks = random_walks(tuple(f"T{n}" for n in range(12)), first=FIRST.replace(day=2))
    with peer_of(walks) as peer:
        peer.silent_connections = EVERY_ONE
        started = time.monotonic()
        delivery = fetch(peer, sorted(set(walks["ticker"])), request_timeout_seconds=0.5, requests_in_flight=4)
        assert time.monotonic() - started < 4.0, "two timeouts, and not three for every four tickers"
    assert peer.num_connections == 2
    assert len(delivery.failures) == 12
    (message,) = set(map(str, delivery.failures.values()))
    assert MUTE in message
    assert "check whether TWS shows charts, and restart it" in message


def test_what_came_before_the_silence_is_kept() -> None:
    with peer_of() as peer:
        for symbol in SYMBOLS[2:]:
            peer.script(symbol, Silence())
        peer.silent_connections = {2}
        delivery = fetch(peer, request_timeout_seconds=0.5)
    assert whole(delivery, *SYMBOLS[:2])
    assert [MUTE in str(delivery.failures[symbol]) for symbol in SYMBOLS[2:]] == [True, True]


def test_one_request_at_a_time_shows_a_mute_tws_as_well() -> None:
    with peer_of() as peer:
        peer.silent_connections = EVERY_ONE
        delivery = fetch(peer, request_timeout_seconds=0.5, requests_in_flight=1)
    assert len(peer.asked) == 2
    assert [MUTE in str(delivery.failures[symbol]) for symbol in SYMBOLS] == [True] * 4


def test_one_ticker_that_stays_unanswered_costs_no_other_one() -> None:
    with peer_of() as peer:
        peer.script("AAPL", *[Silence()] * 3)
        delivery = fetch(peer, request_timeout_seconds=0.5, requests_in_flight=1)
    assert whole(delivery, *SYMBOLS[1:])
    assert "AAPL: no answer came in 0.5 s, after 3 tries" in str(delivery.failures["AAPL"])
    assert asked_of(peer, "AAPL") == 3


def test_the_fetches_after_one_in_vain_do_not_wait_again_and_a_later_one_does() -> None:
    remembered = 2.0
    pacer = Pacer(replace(HASTE, unreachable=remembered))
    with peer_of() as peer:
        peer.silent_connections = EVERY_ONE
        source = source_of(peer, pacer=pacer, request_timeout_seconds=0.5)
        deliveries = [source.fetch(SYMBOLS, first, LAST) for first in (FIRST, FIRST.replace(day=2), FIRST)]
        assert peer.num_connections == 2
        messages = {str(error) for delivery in deliveries for error in delivery.failures.values()}
        assert [len(delivery.failures) for delivery in deliveries] == [4, 4, 4]
        assert len(messages) == 1
        peer.silent_connections = ()
        time.sleep(remembered)
        assert whole(source.fetch(SYMBOLS, FIRST, LAST), *SYMBOLS)
