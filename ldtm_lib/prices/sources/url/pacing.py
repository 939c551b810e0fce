"""Rate limit and blocking of requests to one web service, shared by all fetches of a process."""

import threading
import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPatience:
    """Waits before another attempt, in seconds."""

    first_pause: float = 1.0
    """The wait before the second attempt of a request; it doubles with every attempt."""
    longest_pause: float = 60.0
    """If a service asks for a longer wait, the remaining requests fail and none is sent until then."""
    unreachable: float = 60.0
    """The time for which no request is sent to an unreachable service."""
    num_silent: int = 3
    """Consecutive requests without an answer after which a service counts as unreachable."""
    minute: float = 61.0
    """A minute with a margin: requests may arrive closer together than they were sent."""

    def after(self, num_attempts: int) -> float:
        """The wait after `num_attempts` attempts of a request."""
        return min(self.longest_pause, self.first_pause * 2 ** (num_attempts - 1))


class RequestPacer:
    """Limits the rate of requests to one service from all threads, and blocks them for a time."""

    def __init__(self, patience: RequestPatience | None = None) -> None:
        self.patience = patience or RequestPatience()
        self._lock = threading.Lock()
        self._sent: deque[float] = deque()
        self._held_until = 0.0
        self._num_silent = 0
        self._blocked: tuple[float, str] = (0.0, "")

    def wait_for_turn(self, per_minute: float | None) -> None:
        """Wait until another request may be sent."""
        while (seconds := self._seconds_to_wait(per_minute)) > 0:
            time.sleep(seconds)

    def hold(self, seconds: float) -> None:
        """Delay all requests, because the service reports too many of them."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def block(self, seconds: float, reason: str) -> None:
        """Make all requests fail for some seconds."""
        with self._lock:
            self._blocked = time.monotonic() + seconds, reason

    def note_answer(self) -> None:
        """Record that the service has answered, with any status."""
        with self._lock:
            self._num_silent = 0

    def note_silence(self, reason: str) -> None:
        """Record that the service could not be reached, or has not answered in time."""
        with self._lock:
            self._num_silent += 1
            if self._num_silent >= self.patience.num_silent:
                self._num_silent = 0
                self._blocked = time.monotonic() + self.patience.unreachable, reason

    @property
    def blocked(self) -> str | None:
        """The reason why requests are blocked at present; None if they are not."""
        with self._lock:
            until, reason = self._blocked
            return reason if time.monotonic() < until else None

    def _seconds_to_wait(self, per_minute: float | None) -> float:
        """The wait before a request; if it is 0, the request counts as sent."""
        with self._lock:
            now = time.monotonic()
            if now < self._held_until:
                return self._held_until - now
            if per_minute is None:
                return 0.0
            num_requests = max(1, int(per_minute))
            window = self.patience.minute * num_requests / per_minute
            while self._sent and now - self._sent[0] >= window:
                self._sent.popleft()
            if len(self._sent) >= num_requests:
                return self._sent[0] + window - now
            self._sent.append(now)
            return 0.0
