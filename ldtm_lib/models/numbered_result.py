"""A result that names its task by a number: tasks hold many windows, which need not be sent back."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ldtm_lib.errors import LdtmError
from ldtm_lib.models.fit import Fit, FitFailed, FitTask


@dataclass(frozen=True, slots=True)
class NumberedResult:
    """A `Fit` or a `FitFailed` without its task."""

    number: int
    """Number of the task among those that both processes have."""
    fields: dict[str, Any]
    """Fields of the fit; empty for a failure."""
    reason: LdtmError | None
    """Reason of a failure; None for a fit."""

    @staticmethod
    def without_task(result: Fit | FitFailed, number: int) -> "NumberedResult":
        """Replace the task of a result by its number."""
        if isinstance(result, FitFailed):
            return NumberedResult(number, {}, result.reason)
        names = [field.name for field in dataclasses.fields(Fit) if field.name != "task"]
        return NumberedResult(number, {name: getattr(result, name) for name in names}, None)

    def of(self, tasks: Sequence[FitTask]) -> Fit | FitFailed:
        """The result with its task, which is looked up by the number."""
        task = tasks[self.number]
        return Fit(task=task, **self.fields) if self.reason is None else FitFailed(task=task, reason=self.reason)
