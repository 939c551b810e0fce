"""The parts that an asset check evaluated: which sessions or tickers fail, and which pass.

Alerts open for failing parts and resolve for passing ones. Parts in neither list keep their alerts as they are: a run
of one ticker has no result for the others, and a partition that will be retried is not failing yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

FAILING, PASSING = "failing", "passing"
"""Metadata keys that hold the scope of an evaluation."""
AS_A_WHOLE = "as a whole"
"""Name of the single part of a check that is not divided, but whose evaluations may cover less than everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckScope:
    """The result of an evaluation, part by part."""

    failing: Mapping[str, str]
    """Description of each failure, by part."""
    passing: list[str]
    """Parts that were evaluated completely and passed."""

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """The metadata that carry the scope."""
        return {FAILING: dg.MetadataValue.json(dict(self.failing)), PASSING: dg.MetadataValue.json(self.passing)}

    @classmethod
    def parse(cls, evaluation: dg.AssetCheckEvaluation) -> "CheckScope | None":
        """The scope that an evaluation carries; None for a check that has no parts."""
        failing, passing = evaluation.metadata.get(FAILING), evaluation.metadata.get(PASSING)
        if not isinstance(failing, dg.JsonMetadataValue) or not isinstance(passing, dg.JsonMetadataValue):
            return None
        assert isinstance(failing.data, Mapping)
        assert isinstance(passing.data, list)
        return cls(failing=failing.data, passing=passing.data)


def selected_checks(context: dg.AssetExecutionContext) -> set[str]:
    """The names of the checks that a run evaluates."""
    return {key.name for key in context.selected_asset_check_keys}
