"""The outcome of a stage, partition by partition, and how Dagster records and shows it.

When every partition of the range is done, the results are returned and Dagster writes them in one batch. When some
failed or were left out, the good ones are logged one by one. A step with failed partitions fails at its end, and
Dagster shows these partitions as failed.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from ldtm_lib.wording import counted

Metadata = Mapping[str, dg.MetadataValue | str | int | float | bool | None]

StepContext = dg.AssetExecutionContext | dg.OpExecutionContext

NUM_SHOWN = 50
"""Lines of a list in metadata; more are counted."""


def unplotted(metadata: Metadata) -> Metadata:
    """Metadata with its numbers as text.

    Dagster's UI plots integers and floats over all events of an asset, one line per label: the tickers of one session
    would be joined as if they were a time series. It does not plot text.
    """
    return {name: _as_text(value) for name, value in metadata.items()}


def _as_text(value: dg.MetadataValue | str | int | float | bool | None) -> dg.MetadataValue | str | bool | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return dg.MetadataValue.text(shown_number(value))


def shown_number(value: float) -> str:
    """A number as metadata show it: whole numbers with commas, others to seven digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.7g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The partitions of one asset after its stage."""

    done: dict[str, Metadata] = field(default_factory=dict[str, Metadata])
    """Metadata by partition key."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """The reason by partition key."""
    summary: list[str] = field(default_factory=list[str])
    """Lines for the log about the stage as a whole."""
    notes: list[str] = field(default_factory=list[str])
    """Warnings for the log, such as a jump that looks like an undeclared split."""


def record(
    context: dg.AssetExecutionContext, asset: str, outcome: Outcome, *, whole_range: bool = True
) -> Iterator[dg.MaterializeResult]:
    """Record the done partitions of one asset, and log the failed ones.

    A returned result stands for every partition of the run's range: when some were left out, the done ones are logged
    one by one.
    """
    key = dg.AssetKey(asset)
    if outcome.failed or not whole_range:
        log_outcome(context, asset, outcome)
        return
    _log_lines(context, asset, outcome)
    for partition, metadata in outcome.done.items():
        context.add_asset_metadata(asset_key=key, partition_key=partition, metadata=unplotted(metadata))
    yield dg.MaterializeResult(asset_key=key)


def log_outcome(context: StepContext, asset: str, outcome: Outcome) -> None:
    """Record the done partitions of one asset one by one, as for a step without partitions."""
    _log_lines(context, asset, outcome)
    for partition, metadata in outcome.done.items():
        context.log_event(dg.AssetMaterialization(asset, partition=partition, metadata=unplotted(metadata)))


def _log_lines(context: StepContext, asset: str, outcome: Outcome) -> None:
    for line in outcome.summary:
        context.log.info(line)
    for note in outcome.notes:
        context.log.warning(note)
    for partition, reason in list(outcome.failed.items())[:NUM_SHOWN]:
        context.log.error(f"{asset} {partition}: {reason}")
    if len(outcome.failed) > NUM_SHOWN:
        context.log.error(
            f"{asset}: {len(outcome.failed) - NUM_SHOWN:,} more failed; the failure of the step lists all"
        )


def fail_if_any_failed(outcomes: Mapping[str, Outcome]) -> None:
    """Fail the step if any partition of any stage failed; the message names them."""
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
            description=f"{counted(len(reasons), 'partition')} failed, the others are recorded: {'; '.join(lines[:5])}"
            + (" ..." if len(lines) > 5 else "")
            + ". Materialize the failed partitions again once the reason is removed.",
            metadata={"failed": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))},
            allow_retries=False,
        )


def listed(lines: Iterable[str]) -> dg.MetadataValue:
    """A markdown list for metadata, at most NUM_SHOWN lines; `none` if it is empty."""
    known = list(lines)
    more = [f"and {len(known) - NUM_SHOWN:,} more"] if len(known) > NUM_SHOWN else []
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in [*known[:NUM_SHOWN], *more]) or "none")


def table(columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> dg.MetadataValue:
    """A table for metadata; every row has one value a column."""
    records = [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name) for name in columns]))


def picture(png: bytes, *, of: str) -> dg.MetadataValue:
    """A PNG inside markdown metadata, so that no file has to be stored or served; `of` is its alternative text."""
    return dg.MetadataValue.md(f"![{of}](data:image/png;base64,{base64.b64encode(png).decode()})")
