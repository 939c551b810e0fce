"""The way to TWS during one fetch: one connection at a time, made again when it breaks or falls silent."""

import asyncio
import time
from typing import Any

from ldtm_lib.config import IbConfig
from ldtm_lib.prices.sources.ib.address import CLIENT_ID_VARIABLE, Address
from ldtm_lib.prices.sources.ib.connection import ClientIdTaken, NotAdmitted, NotConnected, Session
from ldtm_lib.prices.sources.ib.connectivity import Way
from ldtm_lib.prices.sources.ib.pacing import Patience

NUM_CLIENT_IDS = 5
"""Client ids that are tried: one may still be held by a process that was killed."""


class Line:
    """The connection that all requests of a fetch share.

    The first one is waited for as long as `Patience.first_connection` says. One that was there and broke, as when
    Gateway restarts at midnight, is tried again until the fetch ends. Two in a row that answer nothing end it.
    """

    def __init__(self, client: Any, address: Address, config: IbConfig, patience: Patience) -> None:
        self._client, self._address, self._config, self._patience = client, address, config, patience
        self._session: Session | None = None
        self.way = Way(config.request_timeout_seconds)
        self._lock = asyncio.Lock()
        self._first_until = time.monotonic() + patience.first_connection
        self._was_there = False
        self._num_failures = 0
        self._silent_before: frozenset[str] = frozenset()
        """The tickers whose requests the connections before this one left unanswered, since the last answer."""
        self._trouble: NotConnected | None = None
        self.ended: NotConnected | None = None
        """Why nothing more is asked in this fetch."""

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, or none from TWS to IB."""
        trouble = self._trouble or self.way.outage
        return str(trouble) if trouble else None

    async def session(self) -> Session:
        """The connection; raises NotConnected when there is none to be had."""
        async with self._lock:
            if self.ended is not None:
                raise self.ended
            if self._session is None or self._session.is_broken:
                try:
                    await self._connect()
                except NotConnected as error:
                    self.ended = error
                    raise
            assert self._session is not None
            return self._session

    def judge(self, session: Session) -> None:
        """Look at a connection that fell silent; raises NotConnected when the one before it had done so as well.

        One ticker that stays unanswered by itself is no sign of that.
        """
        is_mute = session is self._session and session.silent and not session.has_answered
        if self.ended is None and is_mute and self._silent_before and len(self._silent_before | session.silent) > 1:
            self.ended = NotConnected(
                f"TWS or Gateway at {self._address} lets LDTM log on and answers nothing: two connections were silent "
                f"for {self._config.request_timeout_seconds:g} s each{self.way.in_brackets}; "
                "see whether TWS shows charts, and restart it"
            )
        if self.ended is not None:
            raise self.ended

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._session is not None:
            await self._session.close()

    async def _connect(self) -> None:
        silent = self._silent_before
        if self._session is not None:
            silent = await self._lay_aside(self._session)
        while True:
            if self._num_failures:
                await self._wait()
            try:
                session = await self._log_on()
            except NotConnected as error:
                self._trouble = error
                self._num_failures += 1
                is_too_late = not self._was_there and time.monotonic() >= self._first_until
                if is_too_late or isinstance(error, NotAdmitted):
                    raise
            else:
                self._session, self._silent_before, self._trouble = session, silent, None
                return

    async def _lay_aside(self, session: Session) -> frozenset[str]:
        """End a connection that is of no use any more; the tickers that were left unanswered since the last answer."""
        await self.close()
        self._was_there |= session.has_asked
        self._num_failures = 0 if session.has_answered else self._num_failures + 1
        if not self._was_there and time.monotonic() >= self._first_until:
            raise NotConnected(
                f"TWS or Gateway at {self._address} lets LDTM log on and ends the connection at once; see its log"
            )
        what = "fell silent" if session.silent else "broke"
        self.way.notes.append(f"the connection to {self._address} {what} and was made again")
        return session.silent if session.has_answered else session.silent | self._silent_before

    async def _wait(self) -> None:
        """The wait before another try; the last one for a first connection is made when its time is over."""
        seconds = self._patience.after(self._patience.connect, self._num_failures)
        if not self._was_there:
            seconds = min(seconds, self._first_until - time.monotonic())
        await asyncio.sleep(max(seconds, 0.0))

    async def _log_on(self) -> Session:
        """Connect by the first client id that is free."""
        first = self._address.client_id
        for client_id in range(first, first + NUM_CLIENT_IDS):
            session = Session(self._client, self._address, self._config, self.way)
            try:
                await session.open(client_id)
            except BaseException as error:
                await session.close()
                if not isinstance(error, ClientIdTaken):
                    raise
            else:
                return session
        raise NotAdmitted(
            f"the client ids {first} to {first + NUM_CLIENT_IDS - 1} of TWS or Gateway at {self._address} are all in "
            f"use (326); end the other programs, or set {CLIENT_ID_VARIABLE} to a free one"
        )
