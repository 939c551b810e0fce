"""One fetch: a request a ticker, several of them open at once, each tried again while that may help."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from ldtm_lib.config import IbConfig
from ldtm_lib.errors import LdtmError, SourceError
from ldtm_lib.prices.sources.ib.address import Address
from ldtm_lib.prices.sources.ib.client import load_client
from ldtm_lib.prices.sources.ib.codes import MAY_PASS, REMEDIES, Meaning, Refusal
from ldtm_lib.prices.sources.ib.line import Line
from ldtm_lib.prices.sources.ib.pacing import Pacer
from ldtm_lib.prices.sources.ib.requests import Request, described
from ldtm_lib.prices.sources.ib.session import ConnectionBroken

UNRESOLVED = (Meaning.UNKNOWN_CONTRACT, Meaning.AMBIGUOUS_CONTRACT)


@dataclass(slots=True, kw_only=True)
class Fetched:
    """What came, by ticker: bars of BAR_SCHEMA, or why there are none."""

    bars: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    failures: dict[str, LdtmError] = field(default_factory=dict[str, LdtmError])
    notes: list[str] = field(default_factory=list[str])


async def fetch_all(requests: Sequence[Request], address: Address, config: IbConfig, pacer: Pacer) -> Fetched:
    """Ask for everything; what is open when the fetch has taken its time is a failure of its ticker alone."""
    line = Line(load_client(), address, config, pacer.patience)
    fetch = _Fetch(line, config, pacer)
    tasks = {request.ticker: asyncio.ensure_future(fetch.ask(request)) for request in requests}
    fetched = Fetched()
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=config.fetch_timeout_seconds)
        fetched.failures = {ticker: fetch.unfinished(ticker) for ticker, task in tasks.items() if not task.done()}
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        await line.close()
    for ticker in tasks.keys() - fetched.failures.keys():
        error = tasks[ticker].exception()
        if isinstance(error, LdtmError):
            fetched.failures[ticker] = error
        else:
            fetched.bars[ticker] = tasks[ticker].result()
    fetched.notes = list(dict.fromkeys(line.notes))
    return fetched


class _Fetch:
    """The state that the requests of a fetch share."""

    def __init__(self, line: Line, config: IbConfig, pacer: Pacer) -> None:
        self._line, self._config, self._pacer = line, config, pacer
        self._slots = asyncio.Semaphore(config.requests_in_flight)
        self._refusals: dict[str, Refusal] = {}

    async def ask(self, request: Request) -> pl.DataFrame:
        """The bars of one ticker; raises SourceError, which names ticker, code, IB's text and the remedy."""
        for _ in range(self._config.num_attempts):
            await self._pacer.wait_for_turn(request)
            async with self._slots:
                await self._pacer.wait_while_held()
                answer = await self._try(request)
            if not isinstance(answer, Refusal):
                return answer
            self._refusals[request.ticker] = answer
            if answer.meaning not in MAY_PASS:
                raise SourceError(await self._explained(request, answer))
        refusal = self._refusals[request.ticker]
        tries = f"after {self._config.num_attempts} tries" if self._config.num_attempts > 1 else "after one try"
        raise SourceError(f"{request.ticker}: {refusal}, {tries}; {REMEDIES[refusal.meaning]}")

    def unfinished(self, ticker: str) -> SourceError:
        """Why a ticker is not done when the time is over."""
        because = self._line.trouble or self._refusals.get(ticker) or "others took it"
        return SourceError(
            f"{ticker}: the fetch ended after {self._config.fetch_timeout_seconds:g} s without its bars ({because}); "
            "ask again later, or raise ib.fetch_timeout_seconds"
        )

    async def _try(self, request: Request) -> pl.DataFrame | Refusal:
        session = await self._line.session()
        try:
            answer = await session.bars(request)
        except ConnectionBroken as error:
            return Refusal(meaning=Meaning.DISCONNECTED, text=str(error))
        finally:
            self._pacer.note_end(request)
        if not isinstance(answer, Refusal):
            self._pacer.note_answer()
        elif answer.meaning is Meaning.PACING:
            self._pacer.note_violation()
        return answer

    async def _explained(self, request: Request, refusal: Refusal) -> str:
        """A refusal that trying again cannot help, with what IB has by that name where it did not know which."""
        remedy = REMEDIES[refusal.meaning]
        if refusal.meaning in UNRESOLVED:
            async with self._slots:
                try:
                    found = await (await self._line.session()).details(request)
                except ConnectionBroken:
                    found = refusal
            if isinstance(found, list) or found.meaning is Meaning.UNKNOWN_CONTRACT:
                remedy = described(found if isinstance(found, list) else [], request)
        return f"{request.ticker}: {refusal}; {remedy}"
