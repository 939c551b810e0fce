"""One fetch: one request per ticker, several open at once, each repeated while that may help."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from ldtm_lib.errors import LdtmError, SourceError
from ldtm_lib.prices.sources.ib.client import load_client
from ldtm_lib.prices.sources.ib.codes import MAY_PASS, Meaning, Refusal, remedy_of
from ldtm_lib.prices.sources.ib.connection import Address, AnswersNothing, ConnectionBroken, NotSent
from ldtm_lib.prices.sources.ib.historical import Request, described
from ldtm_lib.prices.sources.ib.pacing import Pacer
from ldtm_lib.prices.sources.ib.reconnect import ReconnectingConnection
from ldtm_lib.settings import IbConfig

UNRESOLVED = (Meaning.UNKNOWN_CONTRACT, Meaning.AMBIGUOUS_CONTRACT)


@dataclass(slots=True, kw_only=True)
class Fetched:
    """Result of a fetch by ticker: bars of BAR_SCHEMA, or the reason why there are none."""

    bars: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    failures: dict[str, LdtmError] = field(default_factory=dict[str, LdtmError])
    notes: list[str] = field(default_factory=list[str])


async def fetch_all(requests: Sequence[Request], address: Address, config: IbConfig, pacer: Pacer) -> Fetched:
    """Send all requests; if one is open when the time of the fetch is over, only its ticker fails.

    If a recent fetch waited for IB without success, this one fails at once for the same reason. A fetch that got bars
    before TWS fell silent does not count as such: the silence may be due to its last tickers.
    """
    if pacer.unreachable is not None:
        return Fetched(failures={request.ticker: pacer.unreachable for request in requests})
    reconnecting = ReconnectingConnection(load_client(), address, config, pacer.patience)
    fetch = _Fetch(reconnecting, config, pacer)
    tasks = {request.ticker: asyncio.ensure_future(fetch.ask(request)) for request in requests}
    fetched = Fetched()
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=config.fetch_timeout_seconds)
        fetched.failures = {ticker: fetch.unfinished(ticker) for ticker, task in tasks.items() if not task.done()}
        is_part_silent = isinstance(reconnecting.failure, AnswersNothing) and _any_came(tasks.values())
        if not is_part_silent and (reconnecting.failure is not None or (fetched.failures and reconnecting.problem)):
            pacer.note_unreachable(reconnecting.failure or fetch.given_up())
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        await reconnecting.close()
    for ticker in tasks.keys() - fetched.failures.keys():
        error = tasks[ticker].exception()
        if isinstance(error, LdtmError):
            fetched.failures[ticker] = error
        elif isinstance(error, OSError):
            fetched.failures[ticker] = SourceError(
                f"{ticker}: the connection to {address} failed ({error}); try again later"
            )
        else:
            fetched.bars[ticker] = tasks[ticker].result()
    fetched.notes = list(dict.fromkeys(reconnecting.connectivity.notes))
    return fetched


def _any_came(tasks: Iterable[asyncio.Future[pl.DataFrame]]) -> bool:
    """True if any request was answered with bars."""
    return any(task.done() and not task.cancelled() and task.exception() is None for task in tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """Verdict on a refusal: whether it stands, however often the request is sent again, and the remedy."""

    stands: bool
    remedy: str


class _Fetch:
    """The state that the requests of a fetch share."""

    def __init__(self, reconnecting: ReconnectingConnection, config: IbConfig, pacer: Pacer) -> None:
        self._reconnecting, self._config, self._pacer = reconnecting, config, pacer
        self._slots = asyncio.Semaphore(config.requests_in_flight)
        self._refusals: dict[str, Refusal] = {}

    async def ask(self, request: Request) -> pl.DataFrame:
        """The bars of one ticker; raises SourceError, which names ticker, code, IB's text and the remedy."""
        for num_left in reversed(range(self._config.num_attempts)):
            await self._pacer.wait_for_turn(request)
            async with self._slots:
                await self._pacer.wait_while_held()
                answer = await self._try(request)
                if not isinstance(answer, Refusal):
                    return answer
                self._refusals[request.ticker] = answer
                verdict = await self._verdict(request, answer)
            if verdict.stands:
                raise SourceError(f"{request.ticker}: {answer}; {verdict.remedy}")
            if not num_left:
                tries = f"after {self._config.num_attempts} tries" if self._config.num_attempts > 1 else "after one try"
                raise SourceError(f"{request.ticker}: {answer}, {tries}; {verdict.remedy}")
        raise AssertionError("num_attempts is at least 1")

    def unfinished(self, ticker: str) -> SourceError:
        """Reason why a ticker is not done when the time is over."""
        because = self._reconnecting.problem or self._refusals.get(ticker) or "other tickers took it"
        return SourceError(
            f"{ticker}: the fetch ended after {self._config.fetch_timeout_seconds:g} s without its bars ({because}); "
            "try again later, or raise ib.fetch_timeout_seconds"
        )

    def given_up(self) -> SourceError:
        """Reason why the next fetch need not begin."""
        return SourceError(
            f"the previous fetch waited {self._config.fetch_timeout_seconds:g} s for IB without success "
            f"({self._reconnecting.problem}); try again later"
        )

    async def _try(self, request: Request) -> pl.DataFrame | Refusal:
        """One answer to a request that was sent; a connection that breaks before that does not count as a try."""
        while True:
            connection = await self._reconnecting.connection()
            try:
                answer = await connection.bars(request)
            except NotSent:
                continue
            except ConnectionBroken as error:
                answer = Refusal(meaning=Meaning.DISCONNECTED, text=str(error))
            finally:
                self._pacer.note_end(request)
            break
        if not isinstance(answer, Refusal):
            self._pacer.note_answer()
        elif answer.meaning is Meaning.PACING:
            self._pacer.note_violation()
        elif answer.meaning is Meaning.SILENCE:
            self._reconnecting.check_silence(connection)
        return answer

    async def _verdict(self, request: Request, refusal: Refusal) -> _Verdict:
        """Verdict on a refusal; for a contract that IB does not find, only after the contract was looked up.

        During its maintenance IB knows no contract at all.
        """
        remedy = remedy_of(refusal)
        if refusal.meaning not in UNRESOLVED:
            return _Verdict(stands=refusal.meaning not in MAY_PASS, remedy=remedy)
        try:
            found = await (await self._reconnecting.connection()).details(request)
        except ConnectionBroken:
            return _Verdict(stands=False, remedy=remedy)
        if isinstance(found, Refusal) and found.meaning is not Meaning.UNKNOWN_CONTRACT:
            return _Verdict(stands=False, remedy=remedy)
        found = [] if isinstance(found, Refusal) else found
        if len(found) == 1:
            return _Verdict(stands=False, remedy="IB has that contract, and may be under maintenance: try again later")
        return _Verdict(
            stands=not (self._reconnecting.connectivity.has_heard_outage and not found),
            remedy=described(found, request),
        )
