"""IB's refusals of one request: distinguished, tried again where that may help, never taken for an answer."""

import re

import pytest

from ldtm_lib.errors import SourceError
from ldtm_lib.prices.sources.ib.codes import MAY_PASS, REMEDIES, Meaning, meaning_of
from tests.integration.prices.ib.asking import HASTE, IDENTICAL_SECONDS, asked_of, fetch, peer_of, whole
from tests.integration.prices.ib.market import Listing
from tests.integration.prices.ib.peer import GREETING, NEVER_THERE, NO_DATA, PACING, RESTORED, UNKNOWN
from tests.integration.prices.ib.reactions import Drop, Empty, Error, Garbled, LinkLost, Notices, Silence

CANCELLED = "Historical Market Data Service error message:API historical data query cancelled: 7"
NO_CHART_PERMISSION = "Historical Market Data Service error message:No market data permissions for ISLAND STK"
ELSEWHERE = "Historical Market Data Service error message:Trading TWS session is connected from a different IP address"
NO_HISTORY = "Historical Market Data Service error message:No historical market data for AAPL/STK@ISLAND Last 86400"
TOO_LONG = "Historical Market Data Service error message:Time length exceed max."
DUPLICATE = "Error processing request.-'bW' : cause - Duplicate ticker ID for API historical data query"
HOPELESS = [
    (162, NO_DATA.format(symbol="AAPL"), "check whether TWS shows a chart of these days"),
    (162, NO_CHART_PERMISSION, "subscribe to the market data of its exchange"),
    (162, ELSEWHERE, "log out of the other TWS"),
    (162, NO_HISTORY, "check whether TWS shows a chart of these days"),
    (162, TOO_LONG, "import the older years from files with `ldtm prices import`"),
    (321, "Error validating request.-'bW' : cause - End Date not supported", "update TWS or Gateway"),
    (354, "Requested market data is not subscribed.", "subscribe to the market data of its exchange"),
    (10090, "Part of requested market data is not subscribed.", "subscribe to the market data of its exchange"),
    (10197, "No market data during competing live session", "log out of the other TWS"),
    (10141, "Paper trading disclaimer must first be accepted for API connection.", "accept the paper trading disc"),
    (10285, "Your API version does not support fractional size rules.", "update the Python client"),
    (10314, "End Date/Time: The date, time, or time-zone entered is invalid.", "update the Python client"),
    (10999, "Historical data of this exchange are not subscribed.", "subscribe to the market data of its exchange"),
]
PASSING = [
    Error(162, PACING),
    Error(420, "Pacing violation"),
    Error(322, "Error processing request. Only 50 simultaneous API historical data requests allowed."),
    Error(322, DUPLICATE),
    Error(200, UNKNOWN),
    Error(162, CANCELLED),
    Error(366, "No historical data query found for ticker id:4"),
    Error(504, "Not connected"),
    Error(9999, "Something that nobody has seen before"),
    Silence(),
    Empty(),
    Drop(),
    LinkLost(0.1, requests_kept=True),
    LinkLost(0.1, requests_kept=False),
    Notices(((0.0, 2105, "HMDS data farm connection is broken:ushmds"), (0.1, 2106, GREETING[1][1]))),
    Notices(((0.0, 2110, NEVER_THERE), (0.1, 1102, RESTORED.format(words="maintained")))),
]


@pytest.mark.parametrize(("code", "text", "remedy"), HOPELESS, ids=lambda value: str(value)[:40])
def test_what_cannot_pass_is_reported_at_once_and_the_others_go_on(code: int, text: str, remedy: str) -> None:
    with peer_of() as peer:
        peer.script("AAPL", Error(code, text))
        delivery = fetch(peer, ["AAPL", "MSFT"])
    message = str(delivery.failures["AAPL"])
    assert message.startswith(f"AAPL: IB says {code}, ")
    assert text[:30] in message
    assert remedy in message
    assert asked_of(peer, "AAPL") == 1
    assert whole(delivery, "MSFT")


@pytest.mark.parametrize("reaction", PASSING, ids=repr)
def test_what_passes_costs_nothing_but_time(reaction: Error | Silence | Empty | Drop | LinkLost | Notices) -> None:
    with peer_of() as peer:
        peer.script("AAPL", reaction)
        delivery = fetch(peer, request_timeout_seconds=1.0 if isinstance(reaction, Silence) else 60.0)
    assert delivery.failures == {}
    assert whole(delivery, "AAPL", "MSFT", "NVDA", "SPY")
    assert peer.num_broken_rules == 0


@pytest.mark.parametrize(
    ("reaction", "words"),
    [
        (Error(162, PACING), "AAPL: IB says 162, '.*pacing violation', after 3 tries; lower ib.requests_in_flight"),
        (Error(420, "Pacing"), "AAPL: IB says 420, 'Pacing', after 3 tries; lower ib.requests_in_flight"),
        (
            Error(322, DUPLICATE),
            "AAPL: IB says 322, .*, after 3 tries; check the log of TWS or Gateway, and restart it",
        ),
        (Error(200, UNKNOWN), "AAPL: IB says 200, .*, after 3 tries; IB has that contract, and may be under maint"),
        (
            Error(162, "What?"),
            "AAPL: IB says 162, 'What\\?', after 3 tries; by its number this is an error of TWS about a re",
        ),
        (
            Error(10998, "New"),
            "AAPL: IB says 10998, 'New', after 3 tries; by its number this is an error of TWS about a re",
        ),
        (
            Error(560, "New"),
            "AAPL: IB says 560, 'New', after 3 tries; by its number this is an error of the client or its",
        ),
        (Error(9999, "New"), "AAPL: IB says 9999, 'New', after 3 tries; search IB's documentation for the text"),
        (Silence(), r"AAPL: no answer came in 0\.2 s, after 3 tries; check whether TWS shows the chart"),
        (Empty(), "AAPL: the answer holds no bar, after 3 tries; check whether TWS shows the chart"),
        (Drop(), r"AAPL: the connection to 127\.0\.0\.1:\d+ broke, after 3 tries; check whether TWS or Gateway runs"),
    ],
    ids=repr,
)
def test_what_does_not_pass_is_reported_after_the_configured_number_of_tries(
    reaction: Error | Silence | Empty | Drop, words: str
) -> None:
    with peer_of() as peer:
        peer.script("AAPL", *[reaction] * 3)
        delivery = fetch(peer, ["AAPL"], request_timeout_seconds=0.2 if isinstance(reaction, Silence) else 60.0)
    assert re.match(words, str(delivery.failures["AAPL"]))
    assert delivery.bars.is_empty()
    assert asked_of(peer, "AAPL") == 3
    waits = [later.at - sooner.at for sooner, later in zip(peer.asked, peer.asked[1:], strict=False)]
    assert min(waits) >= IDENTICAL_SECONDS


def test_after_a_pacing_violation_everything_waits_and_longer_each_time() -> None:
    with peer_of() as peer:
        peer.script("AAPL", Error(162, PACING), Error(162, PACING))
        delivery = fetch(peer, ["AAPL", "MSFT", "NVDA"], requests_in_flight=1)
    assert whole(delivery, "AAPL", "MSFT", "NVDA")
    assert [asked.symbol for asked in peer.asked] == ["AAPL", "MSFT", "NVDA", "AAPL", "AAPL"]
    assert peer.asked[1].at - peer.asked[0].at >= HASTE.slow_down


def test_an_unknown_symbol_is_told_with_how_to_spell_it() -> None:
    with peer_of() as peer:
        delivery = fetch(peer, ["XXXX", "MSFT"])
    assert str(delivery.failures["XXXX"]) == (
        "XXXX: IB says 200, 'No security definition has been found for the request'; IB has no stock 'XXXX'; "
        'write symbol = "..." with IB\'s own spelling, such as "BRK B", under [contracts.XXXX]'
    )
    assert isinstance(delivery.failures["XXXX"], SourceError)
    assert whole(delivery, "MSFT")


def test_an_ambiguous_symbol_is_reported_with_its_contracts() -> None:
    two = [
        Listing(symbol="AAPL", con_id=7, primary_exchange="NASDAQ"),
        Listing(symbol="AAPL", con_id=8, primary_exchange="NYSE"),
    ]
    with peer_of(listings=two) as peer:
        delivery = fetch(peer, ["AAPL", "MSFT"])
    assert str(delivery.failures["AAPL"]) == (
        "AAPL: IB says 200, 'The contract description specified for AAPL is ambiguous'; for the name 'AAPL' IB has "
        "con_id 7 (AAPL, NASDAQ, USD), con_id 8 (AAPL, NYSE, USD); write con_id = 7, or another one, under "
        "[contracts.AAPL]"
    )
    assert whole(delivery, "MSFT")


def test_an_answer_that_the_client_cannot_read_is_reported_as_such() -> None:
    with peer_of() as peer:
        peer.script("AAPL", Garbled())
        delivery = fetch(peer, ["AAPL", "MSFT"], request_timeout_seconds=5.0)
    assert str(delivery.failures["AAPL"]).startswith("AAPL: the client cannot read the answer (ValueError(")
    assert "install compatible versions" in str(delivery.failures["AAPL"])
    assert asked_of(peer, "AAPL") == 1
    assert whole(delivery, "MSFT")


def test_162_is_told_apart_by_its_words() -> None:
    assert [meaning_of(162, text) for text in (PACING, NO_DATA, CANCELLED, NO_CHART_PERMISSION, ELSEWHERE, "?")] == [
        Meaning.PACING, Meaning.NO_DATA, Meaning.CANCELLED, Meaning.NO_PERMISSION, Meaning.OTHER_LOGIN,
        Meaning.UNKNOWN,
    ]  # fmt: skip


def test_a_volume_that_is_rounded_for_an_old_client_is_no_refusal() -> None:
    text = "Warning: Your API version does not support fractional share size rules. Trimmed value 9390.73 to 9390"
    assert meaning_of(10285, text) is Meaning.NOTICE


def test_every_meaning_that_ends_a_request_has_a_remedy() -> None:
    about_the_way = {
        Meaning.NOTICE, Meaning.FARM_UP, Meaning.FARM_IDLE, Meaning.FARM_DOWN, Meaning.OTHER_FARM_DOWN,
        Meaning.LINK_LOST, Meaning.LINK_KEPT, Meaning.CLIENT_ID_TAKEN,
    }  # fmt: skip
    assert set(REMEDIES) == set(Meaning) - about_the_way
    assert set(REMEDIES) >= MAY_PASS
