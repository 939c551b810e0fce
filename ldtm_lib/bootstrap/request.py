"""The request of a bootstrap: how many sessions to simulate, and how often to train in between."""

from dataclasses import dataclass

DEFAULT_SESSIONS = 30
"""As many as the leaderboard counts of a ticker."""
DEFAULT_RETRAIN_EVERY = 21
"""About a month: trainings take nearly all of the time of a bootstrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapRequest:
    """What a bootstrap is asked for."""

    num_sessions: int = DEFAULT_SESSIONS
    """Past sessions to simulate, up to the newest one."""
    retrain_every: int = DEFAULT_RETRAIN_EVERY
    """Sessions between two trainings in the simulation."""
