"""What a check says of each session, or each ticker, that it looked at: which are in trouble, and which are well.

People hear of the first, and that trouble with the second is over. Of what is in neither nothing changes: a run of one
ticker that passes has not looked at the others, and what waits to be tried again is no trouble yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dagster as dg

IN_TROUBLE, WELL = "in trouble", "well"
"""Where an evaluation's metadata hold its verdict."""
AS_A_WHOLE = "as a whole"
"""The one part of what has no parts, and yet says nothing where not all of it was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an evaluation says of its parts."""

    in_trouble: Mapping[str, str]
    """By part, what is wrong with it."""
    well: list[str]
    """Parts of which everything was looked at, and is as it should be."""


def verdict(*, in_trouble: Mapping[str, str], well: Iterable[str]) -> dict[str, dg.MetadataValue]:
    """The metadata that say it."""
    return {IN_TROUBLE: dg.MetadataValue.json(dict(in_trouble)), WELL: dg.MetadataValue.json(list(well))}


def verdict_of(evaluation: dg.AssetCheckEvaluation) -> Verdict | None:
    """What an evaluation says of its parts; None for one that is about one thing as a whole."""
    in_trouble, well = evaluation.metadata.get(IN_TROUBLE), evaluation.metadata.get(WELL)
    if not isinstance(in_trouble, dg.JsonMetadataValue) or not isinstance(well, dg.JsonMetadataValue):
        return None
    assert isinstance(in_trouble.data, Mapping)
    assert isinstance(well.data, list)
    return Verdict(in_trouble=in_trouble.data, well=well.data)
