"""Counts and lists as people read them."""

from collections.abc import Sequence

NUM_NAMED = 5
"""Number of items that a list names by default."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: `1 ticker`, `1,204 tickers`; the plural is the noun with an s unless it is given."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def named(items: Sequence[str], most: int = NUM_NAMED) -> str:
    """The first items of a list, and the number of the others: `AAPL, MSFT and 3 more`."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
