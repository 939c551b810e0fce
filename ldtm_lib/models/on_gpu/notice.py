"""Notices for a person about the course of a training on its GPU."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingNotice:
    """One event of a training on a GPU."""

    text: str
    is_step_down: bool
    """True if a method broke off, or could not begin, and a slower one trains the rest."""
