"""One connection to TWS: requests on it, and what it says of its own way to IB.

Bars are all that is asked for. Positions, orders and account values, which the client's own `connect` would fetch
even when it is read-only, never leave TWS.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import polars as pl

from ldtm_lib.config import IbConfig
from ldtm_lib.errors import SourceError
from ldtm_lib.prices.sources.ib.address import ACCOUNT_VARIABLE, Address
from ldtm_lib.prices.sources.ib.answers import frame_of
from ldtm_lib.prices.sources.ib.codes import Meaning, Refusal, meaning_of
from ldtm_lib.prices.sources.ib.requests import Request, contract_of

IB_ITSELF = "IB"
ENDS_THE_LOGIN = (Meaning.CLIENT_ID_TAKEN, Meaning.REFUSED, Meaning.DISCONNECTED)
CLOSE_SECONDS = 1.0


class ConnectionBroken(SourceError):
    """The connection to TWS broke; what was open has to be asked again on another one."""


class NotConnected(SourceError):
    """There is no connection to TWS to be had."""


class ClientIdTaken(NotConnected):
    """Another program is connected by the same client id."""


class Session:
    """An open connection."""

    def __init__(self, client: Any, address: Address, config: IbConfig) -> None:
        self._client = client
        self._address = address
        self._config = config
        self._ib = client.IB()
        self._open: dict[int, asyncio.Future[list[Any]]] = {}
        self._refusals: dict[int, Refusal] = {}
        self._down: dict[str, Refusal] = {}
        self._up = asyncio.Event()
        self._up.set()
        self._refused_login: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        self.is_broken = False
        self.notes: list[str] = []
        """What TWS said about outages on the way."""

    @property
    def outage(self) -> Refusal | None:
        """What TWS said of the way to IB, while that is down."""
        return next(iter(self._down.values()), None)

    async def open(self, client_id: int) -> None:
        """Connect and log on; raises NotConnected, with the remedy, or ClientIdTaken."""
        at = f"TWS or Gateway at {self._address}"
        seconds = self._config.connect_timeout_seconds
        self._ib.errorEvent.clear()  # the client's own listener asks for account values when IB is back
        self._ib.errorEvent += self._hear
        self._ib.client.conn.disconnected += self._break
        login = asyncio.ensure_future(
            self._ib.client.connectAsync(self._address.host, self._address.port, client_id, seconds)
        )
        try:
            await asyncio.wait({login, self._refused_login}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            was_refused = login.cancel()
        if was_refused:
            await asyncio.wait({login})
            refusal = self._refused_login.result()
            if refusal.meaning is Meaning.CLIENT_ID_TAKEN:
                raise ClientIdTaken(f"client id {client_id} of {at} is in use; {refusal}")
            raise NotConnected(f"{at} takes the connection and ends it: {refusal}; see its API settings and its log")
        try:
            login.result()
        except TimeoutError:
            raise NotConnected(
                f"{at} does not log LDTM on in {seconds:g} s; see whether it is logged in, has the API enabled, "
                "and waits with a question on its screen"
            ) from None
        except OSError as error:
            raise NotConnected(
                f"nothing listens as {at} ({error.strerror or error}); start it, and see LDTM_IB_HOST and LDTM_IB_PORT"
            ) from error
        if self._address.account is not None and self._address.account not in self._ib.client.getAccounts():
            await self.close()
            raise NotConnected(f"{at} is logged in without the account that {ACCOUNT_VARIABLE} names; correct either")

    async def close(self) -> None:
        """End the connection and wait until the socket is closed."""
        connection = self._ib.client.conn
        if connection.transport is None:
            return
        transport, closed = connection.transport, asyncio.Event()

        def note(_: str) -> None:
            closed.set()

        connection.disconnected += note
        self._ib.client.disconnect()
        try:
            await asyncio.wait_for(closed.wait(), CLOSE_SECONDS)
        except TimeoutError:
            transport.abort()
            await closed.wait()

    async def bars(self, request: Request) -> pl.DataFrame | Refusal:
        """The bars that a request is answered with, or why there are none; raises ConnectionBroken."""
        client, contract = self._ib.client, contract_of(self._client, request)

        def send(number: int) -> None:
            client.reqHistoricalData(
                number, contract, request.end, request.duration, "1 day", "TRADES", True, 1, False, []
            )

        answer = await self._ask(contract, send, client.cancelHistoricalData)
        if isinstance(answer, Refusal):
            return answer
        return frame_of(request.ticker, answer) if answer else Refusal(meaning=Meaning.EMPTY)

    async def details(self, request: Request) -> list[Any] | Refusal:
        """The contracts that a request's description fits."""
        contract = contract_of(self._client, request)

        def send(number: int) -> None:
            self._ib.client.reqContractDetails(number, contract)

        return await self._ask(contract, send, lambda _: None)

    async def _ask(
        self, contract: Any, send: Callable[[int], None], cancel: Callable[[int], None]
    ) -> list[Any] | Refusal:
        await self._wait_until_up()
        try:
            number: int = self._ib.client.getReqId()
            future: asyncio.Future[list[Any]] = self._ib.wrapper.startReq(number, contract)
            self._open[number] = future
            send(number)
        except ConnectionError as error:
            raise ConnectionBroken(f"the connection to {self._address} broke") from error
        try:
            return await self._outcome(number, future, cancel)
        finally:
            del self._open[number]
            self._refusals.pop(number, None)
            future.cancel()

    async def _outcome(
        self, number: int, future: asyncio.Future[list[Any]], cancel: Callable[[int], None]
    ) -> list[Any] | Refusal:
        """Wait for the end of a request; time during which TWS has no way to IB does not count."""
        seconds = self._config.request_timeout_seconds
        while not (await asyncio.wait({future}, timeout=seconds))[0]:
            if self._up.is_set():
                cancel(number)
                return Refusal(meaning=Meaning.SILENCE, text=f"no answer came in {seconds:g} s")
            await self._wait_until_up()
        error = None if future.cancelled() else future.exception()
        if refusal := self._refusals.get(number):
            return refusal
        if error is not None:
            raise ConnectionBroken(f"the connection to {self._address} broke") from error
        return future.result()

    async def _wait_until_up(self) -> None:
        """Wait for IB as long as it takes, and for a data farm that is down as long as for a request."""
        while self._down:
            seconds = None if IB_ITSELF in self._down else self._config.request_timeout_seconds
            try:
                await asyncio.wait_for(self._up.wait(), seconds)
            except TimeoutError:
                self._down.clear()
                self._up.set()

    def _hear(self, number: int, code: int, text: str, _contract: Any) -> None:
        """Sort what TWS says. That ib_async takes 321 for a warning makes no difference here."""
        meaning = meaning_of(code, text)
        refusal = Refusal(meaning=meaning, code=code, text=text)
        if meaning in (Meaning.LINK_LOST, Meaning.FARM_DOWN):
            self._note_outage(IB_ITSELF if meaning is Meaning.LINK_LOST else _farm(text), refusal)
        elif meaning is Meaning.OTHER_FARM_DOWN:
            self.notes.append(f"{refusal}: not waited for")
        elif meaning in (Meaning.LINK_KEPT, Meaning.LINK_RENEWED, Meaning.FARM_UP):
            self._note_return(meaning, refusal, _farm(text))
        elif number in self._open and meaning is not Meaning.NOTICE:
            self._refuse(number, refusal)
        elif meaning in ENDS_THE_LOGIN and not self._refused_login.done():
            self._refused_login.set_result(refusal)

    def _note_outage(self, what: str, refusal: Refusal) -> None:
        self._down[what] = refusal
        self._up.clear()
        self.notes.append(f"{refusal}: waited")

    def _note_return(self, meaning: Meaning, refusal: Refusal, farm: str) -> None:
        if meaning is Meaning.FARM_UP:
            self._down.pop(farm, None)
        else:
            self._down.clear()
        if not self._down:
            self._up.set()
        if meaning is Meaning.LINK_RENEWED:
            for number in list(self._open):
                self._refuse(number, refusal)

    def _refuse(self, number: int, refusal: Refusal) -> None:
        self._refusals.setdefault(number, refusal)
        self._open[number].cancel()

    def _break(self, _reason: str) -> None:
        self.is_broken = True
        self._down.clear()
        self._up.set()
        if not self._refused_login.done():
            self._refused_login.set_result(Refusal(meaning=Meaning.DISCONNECTED, text="it said nothing"))


def _farm(text: str) -> str:
    """The name of the farm that a message such as "HMDS data farm connection is OK:ushmds" is about."""
    return text.rpartition(":")[2].strip()
