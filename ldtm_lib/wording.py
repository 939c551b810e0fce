"""Counts and lists as people read them."""

from collections.abc import Sequence

NUM_NAMED = 5
"""Number of items that a list names by default."""


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: `1 ticker`, `1,204 tickers`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def named(items: Sequence[str], most: int = NUM_NAMED) -> str:
    """The first items of a list, and the number of the others: `AAPL, MSFT and 3 more`."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
