"""Counts, lists and figures as people read them."""

from collections.abc import Sequence
from datetime import UTC, datetime

NUM_NAMED = 5
"""Number of items that a list names by default."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 ticker`, `1,204 tickers`; the plural is the noun with an s unless it is given."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def named(items: Sequence[str], most: int = NUM_NAMED) -> str:
    """The first items of a list, and the number of the others: `AAPL, MSFT and 3 more`."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def price_text(price: float) -> str:
    """A price with two decimals, below 1 with four: `1204.50`, `0.0312`."""
    return f"{price:.2f}" if abs(price) >= 1 else f"{price:.4f}"


def mib_of(num_bytes: int) -> float:
    """A size in MiB, rounded to one decimal."""
    return round(num_bytes / 2**20, 1)


def duration_text(seconds: float, digits: int = 0) -> str:
    """A duration: seconds with some digits below two minutes, minutes below two hours, else hours."""
    if seconds < 120:
        return f"{seconds:.{digits}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def moment_text(moment: datetime) -> str:
    """A moment to the second, in UTC: `2026-11-20 21:00:05 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_texts(one: datetime, other: datetime) -> tuple[str, str]:
    """Two moments to the second, or to the microsecond if they differ by less."""
    texts = moment_text(one), moment_text(other)
    if texts[0] != texts[1] or one == other:
        return texts
    return f"{one.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC", f"{other.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC"
