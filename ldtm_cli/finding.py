"""A finding of `ldtm doctor`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import psycopg

from ldtm_lib.errors import LdtmError

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one check, and the remedy."""

    what: str
    level: Level
    found: str
    remedy: str = ""
    """Remedy; every failure has one."""

    def as_dict(self) -> dict[str, str]:
        """The finding for JSON."""
        return asdict(self)


def guarded(what: str, remedy: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings of a check, or the failure that ended it."""
    try:
        return check()
    except (LdtmError, psycopg.Error, OSError) as error:
        return [Finding(what=what, level="fail", found=" ".join(str(error).split()), remedy=remedy)]
