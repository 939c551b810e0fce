"""Waits that keep requests within the pacing rules of Interactive Brokers (IB).

IB accepts no identical request within 15 seconds
(https://interactivebrokers.github.io/tws-api/historical_limitations.html). For daily bars it accepts any number of
other requests, at most 50 of them open at once. After a pacing violation all requests wait.
"""

import asyncio
import time
from collections.abc import Hashable
from dataclasses import dataclass

from ldtm_lib.errors import SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Waits before another attempt, in seconds. Each repeated failure doubles the wait."""

    identical: float = 15.0
    slow_down: float = 15.0
    connect: float = 1.0
    first_connection: float = 60.0
    """Longest wait for a TWS that is not running when a fetch begins: Gateway restarts every day."""
    longest: float = 60.0
    unreachable: float = 60.0
    """After a fetch that found no connection to IB, later fetches fail at once for this time."""

    def after(self, first: float, num_failures: int) -> float:
        """The wait after a number of failures in a row; `first` is the wait after the first one."""
        return min(self.longest, first * 2 ** (num_failures - 1))


class Pacer:
    """Recent requests to one TWS, and the time until which no request may be sent."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._ended: dict[Hashable, float] = {}
        self._held_until = 0.0
        self._num_violations = 0
        self._unreachable: tuple[float, SourceError] | None = None

    async def wait_for_turn(self, request: Hashable) -> None:
        """Wait until `patience.identical` seconds have passed since the last identical request ended."""
        if (ended := self._ended.get(request)) is not None:
            await asyncio.sleep(ended + self.patience.identical - time.monotonic())

    async def wait_while_held(self) -> None:
        """Wait until the hold after a pacing violation ends."""
        while (seconds := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(seconds)

    def note_end(self, request: Hashable) -> None:
        """Record the end of a request. The wait before an identical one begins now: TWS received this one no later."""
        now = time.monotonic()
        self._ended = {key: at for key, at in self._ended.items() if now - at < self.patience.identical}
        self._ended[request] = now

    def note_violation(self) -> None:
        """Record a pacing violation; violations that IB reports during a hold count as one."""
        now = time.monotonic()
        if now >= self._held_until:
            self._num_violations += 1
            self._held_until = now + self.patience.after(self.patience.slow_down, self._num_violations)

    def note_answer(self) -> None:
        """Record an answer of IB. Outside of a hold, it makes the next violation wait as briefly as the first one."""
        if time.monotonic() >= self._held_until:
            self._num_violations = 0

    def note_unreachable(self, error: SourceError) -> None:
        """Record that a fetch waited for IB without success."""
        self._unreachable = time.monotonic(), error

    @property
    def unreachable(self) -> SourceError | None:
        """The error of a recent fetch that could not reach IB."""
        if self._unreachable is None or time.monotonic() - self._unreachable[0] >= self.patience.unreachable:
            return None
        return self._unreachable[1]
