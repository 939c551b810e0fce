"""What evaluations of checks have in common: which were asked for, and how their metadata list what was found."""

from collections.abc import Iterable

import dagster as dg

NUM_SHOWN = 50
"""Lines of a list that metadata shows."""


def asked_of(context: dg.AssetExecutionContext) -> set[str]:
    """The names of the checks that a run was asked to evaluate."""
    return {key.name for key in context.selected_asset_check_keys}


def listed(lines: Iterable[str]) -> dg.MetadataValue:
    """Lines as a list, at most so many of them; `none` for none."""
    known = list(lines)
    more = [f"and {len(known) - NUM_SHOWN} more"] if len(known) > NUM_SHOWN else []
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in [*known[:NUM_SHOWN], *more]) or "none")
