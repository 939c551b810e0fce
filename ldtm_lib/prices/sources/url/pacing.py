"""How fast one web service may be asked, and until when not at all; shared by all fetches of a process."""

import threading
import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPatience:
    """How long is waited before something is tried again, in seconds."""

    first_pause: float = 1.0
    """Before the second attempt of a request; it doubles with every attempt."""
    longest_pause: float = 60.0
    """A service that asks for a longer wait is not asked again until then, and what remains has failed."""
    unreachable: float = 60.0
    """For how long a service that has not answered several requests in a row is not asked again."""
    num_silent: int = 3
    """Requests in a row without any answer after which a service counts as unreachable."""
    minute: float = 61.0
    """A minute with a margin: requests may arrive closer together than they were sent."""

    def after(self, num_attempts: int) -> float:
        """The wait after so many attempts of a request."""
        return min(self.longest_pause, self.first_pause * 2 ** (num_attempts - 1))


class RequestPacer:
    """Recent requests to one service from any thread, and the time until which it must not be asked."""

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
        """Let all requests wait: the service says that it is asked too often."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def block(self, seconds: float, reason: str) -> None:
        """Let all requests fail for a while."""
        with self._lock:
            self._blocked = time.monotonic() + seconds, reason

    def note_answer(self) -> None:
        """The service has answered, whatever it said."""
        with self._lock:
            self._num_silent = 0

    def note_silence(self, reason: str) -> None:
        """The service could not be reached, or has not answered in time."""
        with self._lock:
            self._num_silent += 1
            if self._num_silent >= self.patience.num_silent:
                self._num_silent = 0
                self._blocked = time.monotonic() + self.patience.unreachable, reason

    @property
    def blocked(self) -> str | None:
        """Why the service is not asked at present."""
        with self._lock:
            until, reason = self._blocked
            return reason if time.monotonic() < until else None

    def _seconds_to_wait(self, per_minute: float | None) -> float:
        """The wait before a request, or 0 and the request counts as sent."""
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
