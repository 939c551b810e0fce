"""What retention took away of one kind."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How much of a kind went, or would go in a dry run."""

    what: str
    """In the plural, such as `folders of runs`."""
    num: int
    num_bytes: int | None = None
    """Of files; what tables give back is for PostgreSQL to reuse."""
