"""Walk-forward blocks: past sessions in order, each block forecast by models trained on the sessions before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.sessions import Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive sessions that the same models forecast."""

    sessions: tuple[date, ...]
    trained_on: date
    """The last session whose bars the models are trained on: the one before the block."""

    @property
    def first_session(self) -> date:
        """The first session of the block."""
        return self.sessions[0]


def walk_forward_blocks(calendar: Calendar, first: date, last: date, retrain_every: int) -> list[Block]:
    """The blocks of the sessions from `first` to `last`, both included; the last block may be shorter."""
    sessions = calendar.between(first, last)
    starts = range(0, len(sessions), retrain_every)
    return [
        Block(sessions=tuple(sessions[at : at + retrain_every]), trained_on=calendar.offset(sessions[at], -1))
        for at in starts
    ]


def last_sessions(calendar: Calendar, last: date, num_sessions: int) -> Sequence[date]:
    """The newest `num_sessions` sessions up to `last`. Raises ConfigurationError for fewer than one."""
    if num_sessions < 1:
        raise ConfigurationError(f"{num_sessions} sessions cannot be simulated; name at least one")
    return calendar.between(calendar.offset(last, 1 - num_sessions), last)
