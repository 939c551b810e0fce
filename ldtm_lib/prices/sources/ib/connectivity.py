"""The way from TWS to IB, as TWS tells of it: what of it is broken, and until when that is waited for."""

import asyncio
import re

from ldtm_lib.prices.sources.ib.codes import Meaning, Refusal

IB_ITSELF = "IB"
HISTORY_FARM = "ushmds"
"""How the names of the farms begin that daily bars of US stocks and funds come from."""
_NAME = re.compile(r"[:.]\s*([\w.-]*\w)\s*$")


class Way:
    """Whether TWS can reach IB, and the farm of US histories; one for all connections of a fetch.

    IB is waited for as long as it takes. The farm is waited for once, for a stated time: it may be back unheard.
    """

    def __init__(self, farm_seconds: float) -> None:
        self._farm_seconds = farm_seconds
        self._down: dict[str, Refusal] = {}
        self._given_up: dict[str, Refusal] = {}
        self._up = asyncio.Event()
        self._up.set()
        self.up_since = 0.0
        """By the event loop's clock."""
        self.has_heard_outage = False
        """Whether anything was told to be broken, of whatever part of the world."""
        self.notes: list[str] = []

    @property
    def is_up(self) -> bool:
        """Whether nothing is waited for."""
        return self._up.is_set()

    @property
    def outage(self) -> Refusal | None:
        """What TWS said of the way and has not taken back, whether or not it is still waited for."""
        return next(iter((*self._down.values(), *self._given_up.values())), None)

    @property
    def in_brackets(self) -> str:
        """The same, for the end of what is said of a connection that answers nothing."""
        return f" ({self.outage})" if self.outage else ""

    async def wait_until_up(self) -> None:
        """Wait while there is something to wait for."""
        await self._up.wait()

    def hear(self, said: Refusal) -> bool:
        """Take note of a message; whether it was one about the way."""
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
                self._regain(farm, IB_ITSELF)  # whoever reaches that farm reaches IB
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
        """The connection is gone: the next one tells anew what is to be waited for."""
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
    """The farm that a message is about: "... is broken:ushmds", or "... available upon demand.ushmds"."""
    named = _NAME.search(text)
    return named[1] if named else ""


def farms_missing(text: str) -> list[str]:
    """The farms that a message of IB's return ends with: "... are not connected: ushmds; euhmds."."""
    told = text.partition("not connected:")[2].strip().partition(". ")[0].removesuffix(".")
    return [name for name in re.split(r"[;,]\s*", told) if name]
