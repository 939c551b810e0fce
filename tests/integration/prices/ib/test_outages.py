"""The way to IB breaks: at TWS's port, between TWS and IB, in the middle of everything."""

import re
import threading
import time
from dataclasses import replace

import polars as pl
import pytest

from ldtm_lib.prices.sources.ib.codes import Refusal
from ldtm_lib.prices.sources.ib.connection import IbConnection
from ldtm_lib.prices.sources.ib.historical import Request
from ldtm_lib.prices.sources.ib.pacing import Pacer
from tests.integration.prices.ib.asking import HASTE, NUM_SESSIONS, SYMBOLS, asked_of, fetch, peer_of, whole
from tests.integration.prices.ib.peer import NEVER_THERE, RESTORED
from tests.integration.prices.ib.reactions import Drop, LinkLost, Notices, Restart, Silence


def test_a_gateway_that_restarts_in_the_middle_is_waited_for() -> None:
    with peer_of(latency_seconds=0.05) as peer:
        peer.script("NVDA", Restart(0.5))
        delivery = fetch(peer, requests_in_flight=2)
    assert (delivery.failures, whole(delivery, *SYMBOLS)) == ({}, True)
    assert peer.num_connections == 2
    assert re.fullmatch(r"the connection to 127\.0\.0\.1:\d+ broke and was opened again", delivery.notes[0])


def test_a_connection_that_breaks_again_and_again_costs_only_those_that_were_open() -> None:
    with peer_of() as peer:
        peer.script("AAPL", Drop(), Drop(), Drop())
        delivery = fetch(peer, requests_in_flight=1)
    assert list(delivery.failures) == ["AAPL"]
    assert whole(delivery, "MSFT", "NVDA", "SPY")


def test_a_gateway_that_stays_away_ends_the_fetch_in_its_time() -> None:
    with peer_of() as peer:
        peer.script("MSFT", Restart(30.0))
        started = time.monotonic()
        delivery = fetch(peer, requests_in_flight=1, fetch_timeout_seconds=2.0)
        assert time.monotonic() - started < 15.0
    assert whole(delivery, "AAPL")
    assert set(delivery.failures) == {"MSFT", "NVDA", "SPY"}
    assert "SPY: the fetch ended after 2 s without its bars (cannot reach TWS or Gateway at" in str(
        delivery.failures["SPY"]
    )
    assert "raise ib.fetch_timeout_seconds" in str(delivery.failures["SPY"])


def test_one_that_is_not_there_at_all_fails_every_ticker_after_a_while() -> None:
    with peer_of() as peer:
        peer.start_outage()
        started = time.monotonic()
        delivery = fetch(peer)
        assert HASTE.first_connection <= time.monotonic() - started < 15.0
    assert set(delivery.failures) == set(SYMBOLS)
    assert len(set(map(str, delivery.failures.values()))) == 1
    message = str(delivery.failures["AAPL"])
    assert message.startswith(f"cannot reach TWS or Gateway at 127.0.0.1:{peer.port} (")
    assert "start it, and check LDTM_IB_HOST and LDTM_IB_PORT" in message


def test_a_gateway_that_restarts_when_the_fetch_begins_is_waited_for() -> None:
    with peer_of() as peer:
        peer.start_outage()
        back = threading.Timer(1.0, peer.end_outage)
        back.start()
        delivery = fetch(peer, pacer=Pacer(replace(HASTE, first_connection=20.0)), num_attempts=1)
        back.join()
    assert whole(delivery, *SYMBOLS)


def test_one_that_takes_connections_and_says_nothing_is_told_apart() -> None:
    with peer_of() as peer:
        peer.is_mute = True
        started = time.monotonic()
        delivery = fetch(peer, connect_timeout_seconds=0.3)
        assert time.monotonic() - started < 5.0
        assert 2 <= peer.num_connections <= 3, "as often as the time allows, not as often for every ticker"
    assert "did not complete the logon in 0.3 s; check whether it is logged in, has the API enabled" in str(
        delivery.failures["AAPL"]
    )


@pytest.mark.parametrize("account", [None, "DU1234567"])
def test_a_login_that_is_dropped_at_once_is_made_again(account: str | None) -> None:
    with peer_of() as peer:
        peer.dropped_logins = {1}
        delivery = fetch(peer, account=account)
    assert whole(delivery, *SYMBOLS)
    assert delivery.failures == {}


def test_a_tws_that_drops_every_login_ends_the_fetch_soon() -> None:
    with peer_of() as peer:
        peer.dropped_logins = range(1, 1000)
        started = time.monotonic()
        delivery = fetch(peer, account="DU1234567")
        assert time.monotonic() - started < 10.0
        assert peer.num_connections < 40
    assert all("ends it" in str(error) or "broke" in str(error) for error in delivery.failures.values())
    assert set(delivery.failures) == set(SYMBOLS)


def test_bars_that_came_are_kept_when_a_later_login_is_dropped() -> None:
    with peer_of() as peer:
        peer.script("NVDA", Drop())
        peer.dropped_logins = {2}
        delivery = fetch(peer, requests_in_flight=1, account="DU1234567")
    assert whole(delivery, *SYMBOLS)


def test_a_try_that_was_never_sent_is_not_counted() -> None:
    with peer_of(latency_seconds=0.1) as peer:
        peer.greeting = ((2110, NEVER_THERE),)
        for seconds in (0.5, 1.0, 1.5):
            threading.Timer(seconds, peer.drop_all).start()
        threading.Timer(2.0, peer.tell, (1102, RESTORED.format(words="maintained"))).start()
        patience = replace(HASTE, first_connection=20.0)
        delivery = fetch(peer, ["AAPL"], pacer=Pacer(patience), num_attempts=1)
    assert whole(delivery, "AAPL")
    assert (asked_of(peer, "AAPL"), peer.num_connections) == (1, 4)


@pytest.mark.parametrize(("error", "is_kept"), [(ConnectionResetError("reset"), True), (KeyError("bug"), False)])
def test_a_foreign_connection_error_fails_one_ticker_and_a_fault_of_the_program_is_not_hidden(
    error: Exception, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = IbConnection.bars

    async def bars(connection: IbConnection, request: Request) -> pl.DataFrame | Refusal:
        if request.ticker == "AAPL":
            raise error
        return await asked(connection, request)

    monkeypatch.setattr(IbConnection, "bars", bars)
    with peer_of() as peer:
        if not is_kept:
            with pytest.raises(KeyError, match="bug"):
                fetch(peer)
            return
        delivery = fetch(peer)
    assert str(delivery.failures["AAPL"]) == (
        f"AAPL: the connection to 127.0.0.1:{peer.port} failed (reset); try again later"
    )
    assert whole(delivery, *SYMBOLS[1:])


def test_a_client_id_in_use_is_passed_over_at_once() -> None:
    with peer_of() as peer:
        peer.taken_client_ids = {17, 18}
        started = time.monotonic()
        delivery = fetch(peer, connect_timeout_seconds=60.0)
        assert time.monotonic() - started < 20.0
    assert whole(delivery, *SYMBOLS)
    assert {asked.client_id for asked in peer.asked} == {19}


def test_five_client_ids_in_use_are_a_failure_with_the_remedy() -> None:
    with peer_of() as peer:
        peer.taken_client_ids = set(range(17, 22))
        delivery = fetch(peer, ["AAPL"], num_attempts=1)
    assert str(delivery.failures["AAPL"]) == (
        f"the client ids 17 to 21 of TWS or Gateway at 127.0.0.1:{peer.port} are all in use (326); "
        "end the other programs, or set LDTM_IB_CLIENT_ID to a free one"
    )


@pytest.mark.parametrize(("account", "is_managed"), [("DU1234567", True), ("U7654321", False)])
def test_a_login_without_the_named_account_is_refused_and_no_account_is_reported(
    account: str, is_managed: bool
) -> None:
    with peer_of() as peer:
        delivery = fetch(peer, ["AAPL"], account=account, num_attempts=1)
    assert whole(delivery, "AAPL") == is_managed
    if not is_managed:
        message = str(delivery.failures["AAPL"])
        assert message.endswith("is logged in without the account that LDTM_IB_ACCOUNT names; correct one of them")
        assert "7654321" not in message
        assert "1234567" not in message


def test_requests_that_ib_keeps_over_an_outage_are_not_repeated() -> None:
    with peer_of() as peer:
        peer.script("AAPL", LinkLost(2.0, requests_kept=True))
        delivery = fetch(peer, ["AAPL", "MSFT"], request_timeout_seconds=1.0, requests_in_flight=1)
    assert whole(delivery, "AAPL", "MSFT")
    assert (asked_of(peer, "AAPL"), asked_of(peer, "MSFT")) == (1, 1)
    assert delivery.notes == ("IB says 1100, 'Connectivity between IB and Trader Workstation has been lost.': waited",)


def test_requests_that_ib_lost_over_an_outage_are_repeated_without_waiting_for_their_timeout() -> None:
    with peer_of(latency_seconds=0.1) as peer:
        peer.script("AAPL", LinkLost(0.4, requests_kept=False))
        started = time.monotonic()
        delivery = fetch(peer, ["AAPL", "MSFT"])
        assert time.monotonic() - started < 20.0
    assert whole(delivery, "AAPL", "MSFT")
    assert asked_of(peer, "AAPL") == 2


def test_nothing_new_is_asked_while_ib_is_lost() -> None:
    with peer_of() as peer:
        peer.script("AAPL", LinkLost(0.5, requests_kept=True))
        peer.script("MSFT", Notices(((0.2, 2104, "Market data farm connection is OK:euhmds"),)))
        delivery = fetch(peer, ["AAPL", "MSFT", "NVDA"], requests_in_flight=2)
    assert whole(delivery, "AAPL", "MSFT", "NVDA")
    assert [asked.symbol for asked in peer.asked] == ["AAPL", "MSFT", "NVDA"]
    assert peer.asked[2].at - peer.asked[0].at >= 0.5


def test_a_link_that_stays_lost_ends_the_fetch_in_its_time() -> None:
    with peer_of() as peer:
        peer.script("AAPL", LinkLost(30.0, requests_kept=True))
        delivery = fetch(peer, ["AAPL"], fetch_timeout_seconds=2.0, request_timeout_seconds=0.5)
    assert str(delivery.failures["AAPL"]) == (
        "AAPL: the fetch ended after 2 s without its bars (IB says 1100, 'Connectivity between IB and Trader "
        "Workstation has been lost.'); try again later, or raise ib.fetch_timeout_seconds"
    )


def test_a_drop_while_others_are_silent_breaks_all_of_them_at_once() -> None:
    with peer_of() as peer:
        peer.script("AAPL", Silence())
        peer.script("MSFT", Notices(((0.2, 2104, "OK:usfarm"),)))
        peer.script("NVDA", Drop())
        started = time.monotonic()
        delivery = fetch(peer, ["AAPL", "MSFT", "NVDA"])
        assert time.monotonic() - started < 20.0
    assert delivery.bars.height == 3 * NUM_SESSIONS
