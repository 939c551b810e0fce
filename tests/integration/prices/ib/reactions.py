"""What may happen to a request besides a plain answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Error:
    """IB answers with an error."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer ever comes; at most messages of no request, with their codes."""

    messages: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Empty:
    """An answer without bars."""


@dataclass(frozen=True, slots=True)
class Short:
    """An answer that is cut off: the newest bars of it."""

    num_bars: int


@dataclass(frozen=True, slots=True)
class Garbled:
    """An answer whose numbers are none."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection breaks; the port goes on listening."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Gateway restarts: every connection closes, and the port refuses new ones for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LinkLost:
    """TWS loses IB (1100), and is back after a while: with the requests of that time (1102), or without (1101)."""

    seconds: float
    requests_kept: bool


@dataclass(frozen=True, slots=True)
class Notices:
    """Messages of no request, each with its wait before it in seconds; then the plain answer."""

    messages: tuple[tuple[float, int, str], ...]


Reaction = Error | Silence | Empty | Short | Garbled | Drop | Restart | LinkLost | Notices
