"""What TWS says of its own way to IB: what is waited for, how long, and what goes on afterwards."""

import threading
import time

import pytest

from ldtm_lib.prices.sources.ib.connectivity import farm_of, farms_missing
from tests.integration.prices.ib.asking import SYMBOLS, asked_of, fetch, peer_of, whole
from tests.integration.prices.ib.peer import BUT_HISTORIES, GREETING, LOST, NEVER_THERE, RESTORED, TwsPeer
from tests.integration.prices.ib.reactions import Notices, Silence

BROKEN = "HMDS data farm connection is broken:ushmds"
OK = "HMDS data farm connection is OK:ushmds"
IDLE = "HMDS data farm connection is inactive but should be available upon demand."
ON_THE_WAY = Notices(((0.2, 2104, "Market data farm connection is OK:usfarm"),))
"""An answer that comes while the others wait."""
LONG = 30.0
"""A request timeout that would be seen in the time that a test takes."""


def gap(peer: TwsPeer, later: int) -> float:
    """Seconds from the first request to a later one."""
    return peer.asked[later].at - peer.asked[0].at


@pytest.mark.parametrize(
    ("text", "farm"),
    [
        (BROKEN, "ushmds"),
        ("HMDS data farm connection is OK:ushmds.us", "ushmds.us"),
        (IDLE + "ushmds", "ushmds"),
        (IDLE + "ushmds.us", "ushmds.us"),
        ("Market data farm connection is inactive but should be available upon demand.usfarm.nj", "usfarm.nj"),
        ("Sec-def data farm connection is broken:secdefnj", "secdefnj"),
        (LOST, ""),
        (NEVER_THERE, ""),
    ],
)
def test_a_farm_is_known_by_the_end_of_its_message(text: str, farm: str) -> None:
    assert farm_of(text) == farm


@pytest.mark.parametrize(
    ("text", "farms"),
    [
        (BUT_HISTORIES, ["ushmds"]),
        ("The following farms are not connected: ushmds.us; euhmds.", ["ushmds.us", "euhmds"]),
        ("The following farms are not connected: ushmds. The following farms are connected: usfarm.", ["ushmds"]),
        ("All data farms are connected: usfarm; ushmds.", []),
        ("", []),
    ],
)
def test_the_farms_that_are_missing_after_a_return_are_read_from_it(text: str, farms: list[str]) -> None:
    assert farms_missing(text) == farms


@pytest.mark.parametrize("back", [(2106, OK), (2107, IDLE + "ushmds"), (1102, RESTORED.format(words="maintained"))])
def test_the_next_request_waits_for_the_farm_of_histories_and_goes_out_once_it_is_back(back: tuple[int, str]) -> None:
    with peer_of() as peer:
        peer.script("AAPL", Notices(((0.0, 2105, BROKEN), (0.6, *back))))
        peer.script("MSFT", ON_THE_WAY)
        delivery = fetch(peer, ["AAPL", "MSFT", "NVDA"], requests_in_flight=2, request_timeout_seconds=LONG)
    assert whole(delivery, "AAPL", "MSFT", "NVDA")
    assert 0.6 <= gap(peer, 2) < 10.0
    assert delivery.notes == (f"IB says 2105, '{BROKEN}': waited",)


def test_a_farm_that_never_says_it_is_back_is_waited_for_once_and_told_with_the_silence_after_it() -> None:
    said_again = Notices(tuple((0.4, 2105, BROKEN) for _ in range(5)))
    with peer_of() as peer:
        peer.greeting = ((2105, BROKEN),)
        peer.script("AAPL", said_again)
        peer.script("SPY", *[Silence()] * 3)
        started = time.monotonic()
        delivery = fetch(peer, requests_in_flight=1, request_timeout_seconds=1.5)
        assert 1.5 <= peer.asked[0].at - started < 2.5
        assert time.monotonic() - started < 12.0
    assert whole(delivery, "AAPL", "MSFT", "NVDA")
    assert str(delivery.failures["SPY"]).startswith(
        f"SPY: no answer came in 1.5 s (IB says 2105, '{BROKEN}'), after 3 tries; "
    )


def test_a_farm_that_is_back_after_all_is_no_reason_for_a_later_silence() -> None:
    with peer_of() as peer:
        peer.greeting = ((2105, BROKEN),)
        peer.script("AAPL", Notices(((0.3, 2106, OK),)))
        peer.script("MSFT", *[Silence(((2106, OK),))] * 3)
        delivery = fetch(peer, ["AAPL", "MSFT"], requests_in_flight=1, request_timeout_seconds=0.5)
    assert "no answer came in 0.5 s, after 3 tries" in str(delivery.failures["MSFT"])


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (2103, "Market data farm connection is broken:usfuture"),
        (2103, "Market data farm connection is broken:cashhmds"),
        (2105, "HMDS data farm connection is broken:euhmds"),
        (2105, "HMDS data farm connection is broken:hkhmds"),
        (2105, "HMDS data farm connection is broken:fundfarm"),
        (2157, "Sec-def data farm connection is broken:secdefeu"),
    ],
)
def test_a_farm_that_no_history_comes_from_is_noted_and_not_waited_for(code: int, text: str) -> None:
    with peer_of() as peer:
        peer.script("AAPL", Notices(((0.0, code, text),)))
        started = time.monotonic()
        delivery = fetch(peer, requests_in_flight=1, request_timeout_seconds=LONG)
        assert time.monotonic() - started < 15.0
    assert whole(delivery, *SYMBOLS)
    assert delivery.notes == (f"IB says {code}, '{text}': not waited for",)


@pytest.mark.parametrize("back", [(1102, RESTORED.format(words="maintained")), (2106, OK)])
def test_a_tws_that_has_not_found_ib_yet_is_asked_once_it_has(back: tuple[int, str]) -> None:
    with peer_of() as peer:
        peer.greeting = ((2110, NEVER_THERE), (2103, "Market data farm connection is broken:usfarm"), *GREETING[2:])
        told: list[float] = []

        def tell_later() -> None:
            while not peer.num_clients:
                time.sleep(0.01)
            time.sleep(1.5)
            told.append(time.monotonic())
            peer.tell(*back)

        later = threading.Thread(target=tell_later)
        later.start()
        delivery = fetch(peer, request_timeout_seconds=0.3)
        later.join()
        assert 0.0 <= peer.asked[0].at - told[0] < 10.0
    assert whole(delivery, *SYMBOLS)
    assert peer.num_connections == 1


def test_a_farm_that_falls_asleep_is_no_sign_that_ib_is_back() -> None:
    with peer_of() as peer:
        peer.greeting = ((2110, NEVER_THERE), (2107, IDLE + "ushmds"))
        delivery = fetch(peer, ["AAPL"], request_timeout_seconds=0.2, fetch_timeout_seconds=1.0)
    assert f"without its bars (IB says 2110, '{NEVER_THERE}'); try again later" in str(delivery.failures["AAPL"])
    assert peer.asked == []


def test_a_farm_that_a_return_leaves_out_is_waited_for() -> None:
    returned = RESTORED.format(words="maintained") + BUT_HISTORIES
    with peer_of() as peer:
        peer.script("AAPL", Notices(((0.0, 2105, BROKEN), (0.0, 1100, LOST), (0.0, 1102, returned), (0.8, 2106, OK))))
        peer.script("MSFT", ON_THE_WAY)
        delivery = fetch(peer, ["AAPL", "MSFT", "NVDA"], requests_in_flight=2, request_timeout_seconds=LONG)
    assert whole(delivery, "AAPL", "MSFT", "NVDA")
    assert 0.8 <= gap(peer, 2) < 10.0


def test_a_contract_that_ib_does_not_know_while_something_is_broken_is_asked_for_again() -> None:
    with peer_of() as peer:
        peer.greeting = (*GREETING, (2157, "Sec-def data farm connection is broken:secdefnj"))
        delivery = fetch(peer, ["XXXX", "MSFT"])
    assert "after 3 tries; IB has no stock 'XXXX'" in str(delivery.failures["XXXX"])
    assert asked_of(peer, "XXXX") == 3
    assert whole(delivery, "MSFT")
