"""One connection to TWS or IB Gateway: its address, the logon, and the requests on it.

Only bars are requested. Positions, orders and account values, which the client's own `connect` would fetch even when it
is read-only, never leave TWS.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ldtm_lib.errors import ConfigurationError, SourceError
from ldtm_lib.prices.sources.ib.codes import Meaning, Refusal, meaning_of
from ldtm_lib.prices.sources.ib.connectivity import Connectivity
from ldtm_lib.prices.sources.ib.historical import Request, contract_of, frame_of
from ldtm_lib.settings import IbConfig

HOST_VARIABLE = "LDTM_IB_HOST"
PORT_VARIABLE = "LDTM_IB_PORT"
CLIENT_ID_VARIABLE = "LDTM_IB_CLIENT_ID"
ACCOUNT_VARIABLE = "LDTM_IB_ACCOUNT"
MOST_PORTS = 65_535
MOST_CLIENT_IDS = 2**31 - 1
ENDS_THE_LOGIN = (Meaning.CLIENT_ID_TAKEN, Meaning.REFUSED, Meaning.DISCONNECTED)
ANSWERS = (10, 17)
"""Numbers of the messages that are answers: contract details and bars."""
GREETING_SECONDS = 0.05
"""Wait between logon and first request, during which TWS reports the broken parts of its connection to IB."""
CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One TWS or Gateway. Ports by default: TWS 7496 live and 7497 paper, Gateway 4001 and 4002."""

    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 17
    """The first client id that is tried; while it is in use, the next ones are tried."""
    account: str | None = field(default=None, repr=False)
    """An account that the login must manage, so that a paper login is not mistaken for a live one. Never shown."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def address_of(environ: Mapping[str, str]) -> Address:
    """The address that the environment names; raises ConfigurationError for an invalid number."""
    plain = Address()
    return Address(
        host=environ.get(HOST_VARIABLE) or plain.host,
        port=_number(environ, PORT_VARIABLE, plain.port, least=1, most=MOST_PORTS),
        client_id=_number(environ, CLIENT_ID_VARIABLE, plain.client_id, least=0, most=MOST_CLIENT_IDS),
        account=environ.get(ACCOUNT_VARIABLE) or None,
    )


def _number(environ: Mapping[str, str], name: str, otherwise: int, *, least: int, most: int) -> int:
    text = environ.get(name)
    if not text:
        return otherwise
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConfigurationError(f"{name} is {text!r}; it must be a whole number from {least} to {most}")
    return int(text)


class ConnectionBroken(SourceError):
    """The connection to TWS broke; open requests must be sent again on another one."""


class NotSent(ConnectionBroken):
    """The connection to TWS broke before a request was sent."""


class NotConnected(SourceError):
    """TWS cannot be reached, or the connection to it cannot be used."""


class AnswersNothing(NotConnected):
    """TWS accepts requests and answers none."""


class NotAdmitted(NotConnected):
    """TWS runs but refuses LDTM: waiting would not help."""


class ClientIdTaken(NotAdmitted):
    """Another program is connected with the same client id."""


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A request that is open."""

    ticker: str
    answer: asyncio.Future[list[Any]]
    cancel: Callable[[], None]
    refusal: Refusal | None = None

    def refuse(self, refusal: Refusal) -> None:
        """End the request without an answer; the first reason counts."""
        self.refusal = self.refusal or refusal
        self.answer.cancel()


class IbConnection:
    """A connection to TWS.

    Silence is measured from the last answer to any request on the connection, because TWS may process requests one
    after the other. After `request_timeout_seconds` of silence the connection is given up, with all open requests.
    """

    def __init__(self, client: Any, address: Address, config: IbConfig, connectivity: Connectivity) -> None:
        self._client, self._address, self._config, self._way = client, address, config, connectivity
        self._ib = client.IB()
        self._open: dict[int, _Asked] = {}
        self._loop = asyncio.get_running_loop()
        self._quiet_since = 0.0
        self._refused_login: asyncio.Future[Refusal] = self._loop.create_future()
        self.is_broken = self.has_asked = self.has_answered = False
        self.silent: frozenset[str] = frozenset()
        """The tickers whose requests were open when it was given up as silent."""

    async def open(self, client_id: int) -> None:
        """Connect and log on; raises NotConnected with the remedy, or NotAdmitted or ClientIdTaken if TWS refuses."""
        address, seconds = self._address, self._config.connect_timeout_seconds
        at = f"TWS or Gateway at {address}"
        self._listen()
        login = asyncio.ensure_future(self._ib.client.connectAsync(address.host, address.port, client_id, seconds))
        try:
            await asyncio.wait({login, self._refused_login}, return_when=asyncio.FIRST_COMPLETED)
            if login.done() and login.exception() is None:
                await asyncio.wait({self._refused_login}, timeout=GREETING_SECONDS)
        finally:
            login.cancel()
        await asyncio.wait({login})
        if self._refused_login.done() and (login.cancelled() or login.exception() is None):
            refusal = self._refused_login.result()
            if refusal.meaning is Meaning.CLIENT_ID_TAKEN:
                raise ClientIdTaken(f"client id {client_id} of {at} is in use; {refusal}")
            kind = NotAdmitted if refusal.meaning is Meaning.REFUSED else NotConnected
            raise kind(f"{at} accepts the connection and ends it: {refusal}; check its API settings and its log")
        try:
            login.result()
        except TimeoutError:
            raise NotConnected(
                f"{at} did not complete the logon in {seconds:g} s; check whether it is logged in, has the API "
                "enabled, or waits for an answer to a question on its screen"
            ) from None
        except OSError as error:
            raise NotConnected(
                f"cannot reach {at} ({error.strerror or error}); start it, and check LDTM_IB_HOST and LDTM_IB_PORT"
            ) from error
        if address.account is not None and address.account not in self._ib.client.getAccounts():
            raise NotAdmitted(
                f"{at} is logged in without the account that {ACCOUNT_VARIABLE} names; correct one of them"
            )

    async def close(self) -> None:
        """End the connection and wait until the socket is closed."""
        connection = self._ib.client.conn
        if connection.transport is None:
            return
        transport, closed = connection.transport, asyncio.Event()

        def note(_: str) -> None:
            closed.set()

        connection.disconnected += note
        try:
            self._ib.client.disconnect()
            await asyncio.wait_for(closed.wait(), CLOSE_SECONDS)
        except OSError:  # its timeout, or a socket that the other side has reset
            transport.abort()
            await closed.wait()

    async def bars(self, request: Request) -> pl.DataFrame | Refusal:
        """The bars that answer a request, or the reason why there are none; raises ConnectionBroken or NotSent."""
        client, contract = self._ib.client, contract_of(self._client, request)

        def send(number: int) -> None:
            client.reqHistoricalData(
                number, contract, request.end, request.duration, "1 day", "TRADES", True, 1, False, []
            )

        answer = await self._ask(request.ticker, contract, send, client.cancelHistoricalData)
        if isinstance(answer, Refusal):
            return answer
        return frame_of(request.ticker, answer) if answer else Refusal(meaning=Meaning.EMPTY)

    async def details(self, request: Request) -> list[Any] | Refusal:
        """The contracts that fit the description in a request; raises ConnectionBroken or NotSent."""
        client, contract = self._ib.client, contract_of(self._client, request)
        return await self._ask(
            request.ticker, contract, lambda number: client.reqContractDetails(number, contract), lambda _: None
        )

    async def _ask(
        self, ticker: str, contract: Any, send: Callable[[int], None], cancel: Callable[[int], None]
    ) -> list[Any] | Refusal:
        await self._way.wait_until_up()
        try:
            number: int = self._ib.client.getReqId()
            send(number)
        except ConnectionError as error:
            raise NotSent(f"the connection to {self._address} broke") from error
        self.has_asked = True
        if not self._open:
            self._quiet_since = self._loop.time()
        answer: asyncio.Future[list[Any]] = self._ib.wrapper.startReq(number, contract)
        answer.add_done_callback(self._note_end)
        asked = self._open[number] = _Asked(ticker=ticker, answer=answer, cancel=lambda: cancel(number))
        try:
            return await self._outcome(asked)
        finally:
            del self._open[number]
            answer.cancel()

    async def _outcome(self, asked: _Asked) -> list[Any] | Refusal:
        """Wait for the end of a request; time without a connection from TWS to IB does not count as silence."""
        while not asked.answer.done():
            await asyncio.wait({asked.answer}, timeout=self._seconds_to_silence())
            if not asked.answer.done() and self._seconds_to_silence() <= 0:
                self._give_up()
        if asked.refusal is not None:
            return asked.refusal
        try:
            return asked.answer.result()
        except ConnectionError as error:
            raise ConnectionBroken(f"the connection to {self._address} broke") from error

    def _seconds_to_silence(self) -> float:
        seconds = self._config.request_timeout_seconds
        if not self._way.is_up:
            return seconds
        return max(self._quiet_since, self._way.up_since) + seconds - self._loop.time()

    def _give_up(self) -> None:
        """End all open requests: TWS was silent for too long, and will not answer on this connection."""
        text = f"no answer came in {self._config.request_timeout_seconds:g} s{self._way.in_brackets}"
        self.silent = frozenset(asked.ticker for asked in self._open.values())
        for asked in self._open.values():
            asked.refuse(Refusal(meaning=Meaning.SILENCE, text=text))
            if not self.is_broken:
                asked.cancel()
        self.is_broken = True

    def _note_answer(self) -> None:
        self._quiet_since, self.has_answered = self._loop.time(), True

    def _note_end(self, answer: asyncio.Future[list[Any]]) -> None:
        if not (answer.cancelled() or answer.exception()):
            self._note_answer()

    def _listen(self) -> None:
        ib = self._ib
        ib.errorEvent.clear()  # the client's own listener asks for account values when IB is back
        ib.errorEvent += self._hear
        ib.client.conn.disconnected += self._break
        handlers = ib.client.decoder.handlers
        handlers.update({number: self._legible(handlers[number]) for number in ANSWERS})

    def _hear(self, number: int, code: int, text: str, _contract: Any) -> None:
        """Process a message of TWS. ib_async treats code 321 as a warning, which makes no difference here."""
        said = Refusal(meaning=meaning_of(code, text), code=code, text=text)
        if self._way.hear(said):
            if said.meaning is Meaning.LINK_RENEWED:
                for asked in self._open.values():
                    asked.refuse(said)
        elif number in self._open and said.meaning is not Meaning.NOTICE:
            self._note_answer()
            self._open[number].refuse(said)
        elif said.meaning in ENDS_THE_LOGIN and not self._refused_login.done():
            self._refused_login.set_result(said)

    def _legible(self, read: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
        """Wrap the client's reader of answers to pass its failures to the request, since the client only logs them."""

        def reading(fields: list[str]) -> None:
            try:
                read(fields)
            except Exception as error:
                asked = self._open.get(int(fields[1]))
                if asked is None:
                    raise
                self._note_answer()
                asked.refuse(Refusal(meaning=Meaning.UNREADABLE, text=f"the client cannot read the answer ({error!r})"))

        return reading

    def _break(self, _reason: str) -> None:
        self.is_broken = True
        self._way.end()
        if not self._refused_login.done():
            self._refused_login.set_result(Refusal(meaning=Meaning.DISCONNECTED, text="it gave no reason"))
