"""Reconnecting to TWS during one fetch: one connection at a time, replaced when it breaks or falls silent."""

import asyncio
import logging
import time
from typing import Any

from ldtm_lib.prices.sources.ib.client import client_module, load_client, run_in_event_loop_thread
from ldtm_lib.prices.sources.ib.connection import (
    CLIENT_ID_VARIABLE,
    Address,
    AnswersNothing,
    ClientIdTaken,
    IbConnection,
    NotAdmitted,
    NotConnected,
)
from ldtm_lib.prices.sources.ib.connectivity import Connectivity
from ldtm_lib.prices.sources.ib.pacing import Patience
from ldtm_lib.settings import IbConfig

NUM_CLIENT_IDS = 5
"""Client ids that are tried: a killed process may still occupy one."""


class ReconnectingConnection:
    """The connection that all requests of a fetch share.

    The first connection is retried for `Patience.first_connection`. A connection that was open and broke, as when
    Gateway restarts at midnight, is retried until the fetch ends. Two in a row without any answer end the fetch.
    """

    def __init__(self, client: Any, address: Address, config: IbConfig, patience: Patience) -> None:
        self._client, self._address, self._config, self._patience = client, address, config, patience
        self._connection: IbConnection | None = None
        self.connectivity = Connectivity(config.request_timeout_seconds)
        self._lock = asyncio.Lock()
        self._first_until = time.monotonic() + patience.first_connection
        self._was_there = False
        self._num_failures = 0
        self._silent_before: frozenset[str] = frozenset()
        """The tickers whose requests the connections before this one left unanswered, since the last answer."""
        self._problem: NotConnected | None = None
        self.failure: NotConnected | None = None
        """The error that ended this fetch."""

    @property
    def problem(self) -> str | None:
        """The reason for having no connection to TWS, or none from TWS to IB."""
        problem = self._problem or self.connectivity.outage
        return str(problem) if problem else None

    async def connection(self) -> IbConnection:
        """The open connection, a new one if necessary; raises NotConnected if none can be opened."""
        async with self._lock:
            if self.failure is not None:
                raise self.failure
            if self._connection is None or self._connection.is_broken:
                try:
                    await self._connect()
                except NotConnected as error:
                    self.failure = error
                    raise
            assert self._connection is not None
            return self._connection

    def check_silence(self, connection: IbConnection) -> None:
        """Check a connection that fell silent; raises NotConnected if the one before it was silent as well.

        A single ticker that stays unanswered does not count.
        """
        is_mute = connection is self._connection and connection.silent and not connection.has_answered
        if (
            self.failure is None
            and is_mute
            and self._silent_before
            and len(self._silent_before | connection.silent) > 1
        ):
            self.failure = AnswersNothing(
                f"TWS or Gateway at {self._address} accepts the logon and answers nothing: two connections were silent "
                f"for {self._config.request_timeout_seconds:g} s each{self.connectivity.in_brackets}; "
                "check whether TWS shows charts, and restart it"
            )
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            await self._connection.close()

    async def _connect(self) -> None:
        silent = self._silent_before
        if self._connection is not None:
            silent = await self._discard(self._connection)
        while True:
            if self._num_failures:
                await self._wait()
            try:
                connection = await self._log_on()
            except NotConnected as error:
                self._problem = error
                self._num_failures += 1
                is_too_late = not self._was_there and time.monotonic() >= self._first_until
                if is_too_late or isinstance(error, NotAdmitted):
                    raise
            else:
                self._connection, self._silent_before, self._problem = connection, silent, None
                return

    async def _discard(self, connection: IbConnection) -> frozenset[str]:
        """Close a connection that is broken or silent; returns the tickers left unanswered since the last answer."""
        await self.close()
        self._was_there |= connection.has_asked
        self._num_failures = 0 if connection.has_answered else self._num_failures + 1
        if not self._was_there and time.monotonic() >= self._first_until:
            raise NotConnected(
                f"TWS or Gateway at {self._address} accepts the logon and ends the connection at once; check its log"
            )
        what = "fell silent" if connection.silent else "broke"
        self.connectivity.notes.append(f"the connection to {self._address} {what} and was opened again")
        return connection.silent if connection.has_answered else connection.silent | self._silent_before

    async def _wait(self) -> None:
        """Wait before another attempt; the last attempt for a first connection is made when its time is over."""
        seconds = self._patience.after(self._patience.connect, self._num_failures)
        if not self._was_there:
            seconds = min(seconds, self._first_until - time.monotonic())
        await asyncio.sleep(max(seconds, 0.0))

    async def _log_on(self) -> IbConnection:
        """Connect with the first client id that is free."""
        first = self._address.client_id
        for client_id in range(first, first + NUM_CLIENT_IDS):
            connection = IbConnection(self._client, self._address, self._config, self.connectivity)
            try:
                await connection.open(client_id)
            except BaseException as error:
                await connection.close()
                if not isinstance(error, ClientIdTaken):
                    raise
            else:
                return connection
        raise NotAdmitted(
            f"the client ids {first} to {first + NUM_CLIENT_IDS - 1} of TWS or Gateway at {self._address} are all in "
            f"use (326); end the other programs, or set {CLIENT_ID_VARIABLE} to a free one"
        )


def log_on_once(address: Address, config: IbConfig) -> None:
    """Log on with the first free client id and disconnect: a check of whether TWS admits LDTM.

    Raises NotConnected, with the remedy, if it does not, and ConfigurationError if no client of TWS is installed.
    """
    logging.getLogger(client_module()).setLevel(logging.CRITICAL)  # errors raised here are clearer than its log

    async def once() -> None:
        reconnecting = ReconnectingConnection(load_client(), address, config, Patience(first_connection=0.0))
        try:
            await reconnecting.connection()
        finally:
            await reconnecting.close()

    run_in_event_loop_thread(once)
