"""From what a stage did, partition by partition, to what Dagster records.

When all went well the results are returned and Dagster writes them in one batch. When some partitions failed or were
left out, the good ones are logged one by one; a step in which some failed fails at its end, and they show as failed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg

Metadata = Mapping[str, dg.MetadataValue | str | int | float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one stage did with the partitions it was asked for."""

    done: dict[str, Metadata] = field(default_factory=dict[str, Metadata])
    """Metadata by partition key."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """The reason by partition key."""
    summary: list[str] = field(default_factory=list[str])
    """Lines for the log that tell what was done as a whole."""
    notes: list[str] = field(default_factory=list[str])
    """What an operator should read, such as a jump that looks like an undeclared split."""


def record(
    context: dg.AssetExecutionContext, asset: str, outcome: Outcome, *, whole_range: bool = True
) -> Iterator[dg.MaterializeResult]:
    """Record the partitions of one asset that are done; say in the log what is not.

    A result that is returned stands for all partitions of the run's range: where some of them were left out, those
    that are done are logged one by one.
    """
    key = dg.AssetKey(asset)
    for line in outcome.summary:
        context.log.info(line)
    for note in outcome.notes:
        context.log.warning(note)
    for partition, reason in outcome.failed.items():
        context.log.error(f"{asset} {partition}: {reason}")
    if outcome.failed or not whole_range:
        for partition, metadata in outcome.done.items():
            context.log_event(dg.AssetMaterialization(key, partition=partition, metadata=dict(metadata)))
        return
    for partition, metadata in outcome.done.items():
        context.add_asset_metadata(asset_key=key, partition_key=partition, metadata=dict(metadata))
    yield dg.MaterializeResult(asset_key=key)


def fail_if_any_failed(outcomes: Mapping[str, Outcome]) -> None:
    """End the step as failed when any partition of any stage failed, naming all of them."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for asset, outcome in outcomes.items():
        for partition, reason in outcome.failed.items():
            reasons.setdefault(partition, {}).setdefault(reason, []).append(asset)
    lines = [
        f"{partition} ({', '.join(assets)}): {reason}"
        for partition, by_reason in reasons.items()
        for reason, assets in by_reason.items()
    ]
    if lines:
        raise dg.Failure(
            description=f"{len(reasons)} partitions failed, the others are recorded: {'; '.join(lines[:5])}"
            + (" ..." if len(lines) > 5 else "")
            + ". Materialize the failed partitions again when the reason is gone.",
            metadata={"failed": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))},
            allow_retries=False,
        )
