"""Connectivity of TWS to IB, as its messages report it: current outages, and how long to wait for each."""

import asyncio
import re

from ldtm_lib.prices.sources.ib.codes import Meaning, Refusal

IB_ITSELF = "IB"
HISTORY_FARM = "ushmds"
"""Prefix of the names of the farms that daily bars of US stocks and funds come from."""
_NAME = re.compile(r"[:.]\s*([\w.-]*\w)\s*$")


class Connectivity:
    """Connectivity of TWS to IB and to the farm of US histories; shared by all connections of a fetch.

    The wait for IB has no limit. The wait for the farm happens once and is limited: TWS may not report its return.
    """

    def __init__(self, farm_seconds: float) -> None:
        self._farm_seconds = farm_seconds
        self._down: dict[str, Refusal] = {}
        self._given_up: dict[str, Refusal] = {}
        self._up = asyncio.Event()
        self._up.set()
        self.up_since = 0.0
        """Time by the event loop's clock."""
        self.has_heard_outage = False
        """True if TWS reported any outage, also of farms that are not used."""
        self.notes: list[str] = []

    @property
    def is_up(self) -> bool:
        """True if requests can be sent now."""
        return self._up.is_set()

    @property
    def outage(self) -> Refusal | None:
        """The first outage that TWS reported and has not withdrawn, whether or not it is still waited for."""
        return next(iter((*self._down.values(), *self._given_up.values())), None)

    @property
    def in_brackets(self) -> str:
        """The outage in brackets, to be appended to a message about a silent connection."""
        return f" ({self.outage})" if self.outage else ""

    async def wait_until_up(self) -> None:
        """Wait until requests can be sent."""
        await self._up.wait()

    def hear(self, said: Refusal) -> bool:
        """Process a message of TWS; returns whether it was about connectivity."""
        farm = farm_of(said.text)
        match said.meaning:
            case Meaning.LINK_LOST:
                self._lose(IB_ITSELF, said)
            case Meaning.FARM_DOWN if farm.startswith(HISTORY_FARM):
                self._lose(farm, said)
            case Meaning.FARM_DOWN | Meaning.OTHER_FARM_DOWN:
                self.has_heard_outage = True
                self.notes.append(f"{said}: not waited for")
            case Meaning.FARM_UP if farm.startswith(HISTORY_FARM):
                self._regain(farm, IB_ITSELF)  # reaching that farm means reaching IB
            case Meaning.FARM_UP | Meaning.FARM_IDLE:
                self._regain(farm)
            case Meaning.LINK_KEPT | Meaning.LINK_RENEWED:
                missing = [name for name in farms_missing(said.text) if name.startswith(HISTORY_FARM)]
                self._given_up.clear()
                self._regain(*(self._down.keys() - set(missing)))
                for name in missing:
                    self._lose(name, said)
            case _:
                return False
        return True

    def end(self) -> None:
        """Forget all outages when the connection is closed: the next one reports them again."""
        self._regain(*self._down)

    def _lose(self, what: str, said: Refusal) -> None:
        self.has_heard_outage = True
        if what in self._down or what in self._given_up:
            return
        self._down[what] = said
        self._up.clear()
        self.notes.append(f"{said}: waited")
        if what != IB_ITSELF:
            asyncio.get_running_loop().call_later(self._farm_seconds, self._give_up, what, said)

    def _give_up(self, what: str, said: Refusal) -> None:
        if self._down.get(what) is said:
            self._regain(what)
            self._given_up[what] = said

    def _regain(self, *whats: str) -> None:
        for what in whats:
            self._down.pop(what, None)
            self._given_up.pop(what, None)
        if not self._down and not self._up.is_set():
            self.up_since = asyncio.get_running_loop().time()
            self._up.set()


def farm_of(text: str) -> str:
    """The name of the farm that a message is about: "... is broken:ushmds", or "... available upon demand.ushmds"."""
    named = _NAME.search(text)
    return named[1] if named else ""


def farms_missing(text: str) -> list[str]:
    """The farms at the end of a message that reports IB's return: "... are not connected: ushmds; euhmds."."""
    names_told = text.partition("not connected:")[2].strip().partition(". ")[0].removesuffix(".")
    return [name for name in re.split(r"[;,]\s*", names_told) if name]
