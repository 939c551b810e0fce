"""The result of one check of `ldtm doctor`."""

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one check, and the remedy."""

    what: str
    level: Level
    found: str
    remedy: str = ""
    """What to do; every failure has one."""

    def as_dict(self) -> dict[str, str]:
        """The finding for JSON."""
        return asdict(self)
