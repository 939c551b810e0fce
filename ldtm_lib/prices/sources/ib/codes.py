"""Meanings of IB's messages: a table of their codes, and of texts where one code has several meanings.

Source: https://interactivebrokers.github.io/tws-api/message_codes.html and observed messages of TWS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Meaning(Enum):
    """The meaning of a message, or of a missing answer, for a request or for the connectivity to IB."""

    NOTICE = "nothing to act on"
    FARM_UP = "a data farm can be reached"
    FARM_IDLE = "a data farm is inactive until it gets a request"
    FARM_DOWN = "a data farm of histories cannot be reached at the moment"
    OTHER_FARM_DOWN = "a data farm without histories cannot be reached"
    LINK_LOST = "TWS has lost its connection to IB, or has none yet"
    LINK_KEPT = "TWS is connected to IB again, and open requests continue"
    LINK_RENEWED = "TWS is connected to IB again, and open requests are lost"
    DISCONNECTED = "the connection to TWS is lost"
    CLIENT_ID_TAKEN = "another program is connected with this client id"
    PACING = "too many requests were sent in too short a time"
    CANCELLED = "the request was cancelled"
    OTHER_LOGIN = "the login is in use elsewhere"
    SILENCE = "no answer came in time"
    EMPTY = "the answer holds no bar"
    NO_DATA = "IB has no bars for this request"
    UNKNOWN_CONTRACT = "IB knows no such contract"
    AMBIGUOUS_CONTRACT = "several contracts fit"
    NO_PERMISSION = "the login may not see these data"
    TOO_LONG = "the span is longer than IB answers"
    REFUSED = "the request is not one that IB answers"
    OUTDATED = "TWS asks for a newer client"
    TERMS = "the login has not accepted the terms of paper trading"
    STUMBLED = "TWS could not process the request"
    UNREADABLE = "the client cannot read the answer"
    UNKNOWN = "an unknown message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The reason why a request returned no bars."""

    meaning: Meaning
    code: int | None = None
    text: str = ""

    def __str__(self) -> str:
        return f"IB says {self.code}, {self.text!r}" if self.code is not None else self.text or self.meaning.value


MAY_PASS = frozenset(
    {
        Meaning.PACING, Meaning.CANCELLED, Meaning.SILENCE, Meaning.EMPTY, Meaning.LINK_RENEWED, Meaning.DISCONNECTED,
        Meaning.STUMBLED, Meaning.UNKNOWN,
    }
)  # fmt: skip
"""Meanings that may change within seconds, so that a retry can help."""

REMEDIES: Mapping[Meaning, str] = {
    Meaning.PACING: "lower ib.requests_in_flight, and use IB for nothing else while this program fetches",
    Meaning.CANCELLED: "look for another program that uses the same client id",
    Meaning.OTHER_LOGIN: "log out of the other TWS or application that uses this login, or use a separate login",
    Meaning.SILENCE: "check whether TWS shows the chart of the ticker; a longer ib.request_timeout_seconds may help",
    Meaning.EMPTY: "check whether TWS shows the chart of the ticker",
    Meaning.NO_DATA: "check whether TWS shows a chart of these days; a ticker that left belongs under [retired]",
    Meaning.UNKNOWN_CONTRACT: "correct the ticker, or give IB's own spelling",
    Meaning.AMBIGUOUS_CONTRACT: "choose one",
    Meaning.NO_PERMISSION: "subscribe to the market data of its exchange in IB's client portal, for API use too",
    Meaning.TOO_LONG: "import the older years from files with `ldtm prices import`, and IB continues them",
    Meaning.REFUSED: "update TWS or Gateway, and correct what the message names",
    Meaning.OUTDATED: "update the Python client (`ldtm doctor` names it): no retry helps before that",
    Meaning.TERMS: "log in to TWS or Gateway once by hand, accept the paper trading disclaimer, and try again",
    Meaning.STUMBLED: "check the log of TWS or Gateway, and restart it",
    Meaning.UNREADABLE: "install compatible versions of TWS or Gateway and the Python client (`ldtm doctor` names it)",
    Meaning.LINK_RENEWED: "check whether TWS is connected to IB",
    Meaning.DISCONNECTED: "check whether TWS or Gateway runs and is logged in",
    Meaning.UNKNOWN: "search IB's documentation for the text, and report it to LDTM's authors",
}

_KINDS: tuple[tuple[range, str], ...] = (
    (range(100, 500), "an error of TWS about a request; it came at every try, so correct what its text names"),
    (range(500, 600), "an error of the client or its connection; restart TWS or Gateway, and try again"),
    (range(1000, 2000), "a message about the connection of TWS to IB; try again once TWS shows that it is connected"),
    (range(10000, 11000), "an error of TWS about a request; it came at every try, so correct what its text names"),
)
"""Meanings of codes by their numbers in IB's documentation, and the remedy for a code that is in no table."""

_CODES: Mapping[int, Meaning] = {
    100: Meaning.PACING,
    162: Meaning.UNKNOWN,
    165: Meaning.NOTICE,
    200: Meaning.UNKNOWN_CONTRACT,
    203: Meaning.NO_PERMISSION,
    320: Meaning.REFUSED,
    321: Meaning.REFUSED,
    322: Meaning.STUMBLED,
    326: Meaning.CLIENT_ID_TAKEN,
    354: Meaning.NO_PERMISSION,
    366: Meaning.CANCELLED,
    386: Meaning.PACING,
    420: Meaning.PACING,
    502: Meaning.DISCONNECTED,
    503: Meaning.REFUSED,
    504: Meaning.DISCONNECTED,
    507: Meaning.DISCONNECTED,
    1100: Meaning.LINK_LOST,
    1101: Meaning.LINK_RENEWED,
    1102: Meaning.LINK_KEPT,
    1300: Meaning.DISCONNECTED,
    2103: Meaning.OTHER_FARM_DOWN,
    2104: Meaning.FARM_UP,
    2105: Meaning.FARM_DOWN,
    2106: Meaning.FARM_UP,
    2107: Meaning.FARM_IDLE,
    2108: Meaning.FARM_IDLE,
    2110: Meaning.LINK_LOST,
    2157: Meaning.OTHER_FARM_DOWN,
    2158: Meaning.FARM_UP,
    10089: Meaning.NO_PERMISSION,
    10090: Meaning.NO_PERMISSION,
    10141: Meaning.TERMS,
    10167: Meaning.NOTICE,
    10168: Meaning.NO_PERMISSION,
    10186: Meaning.NO_PERMISSION,
    10187: Meaning.REFUSED,
    10197: Meaning.OTHER_LOGIN,
    10285: Meaning.OUTDATED,
    10314: Meaning.OUTDATED,
}
_WORDS: Mapping[int, tuple[tuple[str, Meaning], ...]] = {
    162: (
        ("pacing violation", Meaning.PACING),
        ("no market data permissions", Meaning.NO_PERMISSION),
        ("different ip address", Meaning.OTHER_LOGIN),
        ("cancel", Meaning.CANCELLED),
        ("no data", Meaning.NO_DATA),
        ("no historical market data", Meaning.NO_DATA),
        ("invalid", Meaning.REFUSED),
        ("exceed", Meaning.TOO_LONG),
    ),
    200: (("ambiguous", Meaning.AMBIGUOUS_CONTRACT),),
    322: (("simultaneous", Meaning.PACING),),
    420: (("permission", Meaning.NO_PERMISSION),),
    10285: (("trimmed value", Meaning.NOTICE),),
}
"""Meanings of a number that has several: words of the text in lower case; the first that it contains decides."""
_WORDS_OF_ANY_CODE = (
    ("pacing violation", Meaning.PACING),
    ("not subscribed", Meaning.NO_PERMISSION),
    ("permission", Meaning.NO_PERMISSION),
    ("disclaimer", Meaning.TERMS),
    ("your api version", Meaning.OUTDATED),
)
"""The same for numbers that are in no table."""
_NOTICES = range(2100, 2200)


def meaning_of(code: int, text: str) -> Meaning:
    """The meaning of a message."""
    if code in _NOTICES:
        return _CODES.get(code, Meaning.NOTICE)
    for words, meaning in _WORDS.get(code, () if code in _CODES else _WORDS_OF_ANY_CODE):
        if words in text.lower():
            return meaning
    return _CODES.get(code, Meaning.UNKNOWN)


def remedy_of(refusal: Refusal) -> str:
    """The remedy for a refusal; for a code that is in no table, the kind of its number and whether a retry helps."""
    if refusal.meaning is Meaning.UNKNOWN and refusal.code is not None:
        for numbers, remedy in _KINDS:
            if refusal.code in numbers:
                return f"by its number this is {remedy}"
    return REMEDIES[refusal.meaning]
