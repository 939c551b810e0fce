"""The way to TWS during one fetch: one connection at a time, made again when it breaks."""

import asyncio
from typing import Any

from ldtm_lib.config import IbConfig
from ldtm_lib.prices.sources.ib.address import CLIENT_ID_VARIABLE, Address
from ldtm_lib.prices.sources.ib.pacing import Patience
from ldtm_lib.prices.sources.ib.session import ClientIdTaken, NotConnected, Session

NUM_CLIENT_IDS = 5
"""Client ids that are tried: one may still be held by a process that was killed."""


class Line:
    """The connection that all requests of a fetch share.

    The first one is tried `num_attempts` times. One that was there and broke, as when Gateway restarts at midnight,
    is tried again until the fetch ends.
    """

    def __init__(self, client: Any, address: Address, config: IbConfig, patience: Patience) -> None:
        self._client, self._address, self._config, self._patience = client, address, config, patience
        self._session: Session | None = None
        self._lock = asyncio.Lock()
        self._trouble: NotConnected | None = None
        self.notes: list[str] = []

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, or none from TWS to IB."""
        outage = self._session.outage if self._session else None
        return str(self._trouble or outage) if self._trouble or outage else None

    async def session(self) -> Session:
        """The connection; raises NotConnected when there was none to be had from the start."""
        async with self._lock:
            if self._session is None and self._trouble is not None:
                raise self._trouble
            if self._session is None or self._session.is_broken:
                await self._connect()
            assert self._session is not None
            return self._session

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._session is not None:
            self.notes += self._session.notes
            await self._session.close()

    async def _connect(self) -> None:
        num_failures = 0
        if self._session is not None:
            await self.close()
            self.notes.append(f"the connection to {self._address} broke and was made again")
        while True:
            try:
                self._session = await self._log_on()
            except NotConnected as error:
                self._trouble = error
                num_failures += 1
                if self._session is None and num_failures >= self._config.num_attempts:
                    raise
                await asyncio.sleep(self._patience.after(self._patience.connect, num_failures))
            else:
                self._trouble = None
                return

    async def _log_on(self) -> Session:
        """Connect by the first client id that is free."""
        first = self._address.client_id
        for client_id in range(first, first + NUM_CLIENT_IDS):
            session = Session(self._client, self._address, self._config)
            try:
                await session.open(client_id)
            except BaseException as error:
                await session.close()
                if not isinstance(error, ClientIdTaken):
                    raise
            else:
                return session
        raise NotConnected(
            f"the client ids {first} to {first + NUM_CLIENT_IDS - 1} of TWS or Gateway at {self._address} are all in "
            f"use (326); end the other programs, or set {CLIENT_ID_VARIABLE} to a free one"
        )
