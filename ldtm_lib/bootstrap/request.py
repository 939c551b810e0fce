"""The request for a bootstrap: the number of sessions to simulate, and the retraining interval."""

from dataclasses import dataclass

DEFAULT_SESSIONS = 30
"""The number of forecasts that the leaderboard counts per ticker."""
DEFAULT_RETRAIN_EVERY = 21
"""About a month; trainings take nearly all of the time of a bootstrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapRequest:
    """The extent of a bootstrap's simulation."""

    num_sessions: int = DEFAULT_SESSIONS
    """Past sessions to simulate, up to the newest one."""
    retrain_every: int = DEFAULT_RETRAIN_EVERY
    """Sessions between two trainings in the simulation."""
