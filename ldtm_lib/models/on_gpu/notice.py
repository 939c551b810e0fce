"""What a person should know of how a training went on its GPU."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingNotice:
    """One event of a training on a GPU."""

    text: str
    is_step_down: bool
    """Whether a method broke off, or could not begin, and a slower one trains the rest."""
