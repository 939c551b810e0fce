"""Snapshots: one forecast per ticker and session, on record before its target session opens."""

from collections.abc import Sequence

import dagster as dg

from ldtm_assets.materialization import Metadata, Outcome, table, unplotted
from ldtm_assets.partitions import DailyLayout, DailyPartition
from ldtm_lib.errors import LedgerRefused
from ldtm_lib.ledger.recorded_forecasts import SAME_SESSION
from ldtm_lib.ledger.snapshots import SnapshotReport, SnapshotRow, take_snapshots
from ldtm_lib.project import Project
from ldtm_lib.registry.exports import export_folder
from ldtm_lib.sessions import HORIZON_NAMES, HORIZONS, Calendar
from ldtm_lib.wording import counted, price_text


def snapshots_spec(layout: DailyLayout) -> dg.AssetSpec:
    """The asset `snapshots`, partitioned as `layout` says."""
    return dg.AssetSpec(
        "snapshots",
        deps=["features", dg.AssetDep("registry", partition_mapping=layout.of_its_ticker())],
        description="The forecast on record after the close: three prices and a direction, or an abstention with its "
        "reason.",
        partitions_def=layout.definition,
        group_name="forecasts",
        kinds={"postgres", "pytorch"},
        skippable=True,
    )


def take_daily_snapshots(
    project: Project, calendar: Calendar, partitions: Sequence[DailyPartition], simulation_id: int
) -> tuple[Outcome, list[SnapshotReport]]:
    """Write the forecasts of some partitions, each session in one transaction and with a report."""
    outcome = Outcome()
    reports: list[SnapshotReport] = []
    for session in sorted({partition.session for partition in partitions}):
        tickers = [partition.ticker for partition in partitions if partition.session == session]
        try:
            with project.database.transaction() as conn:
                report = take_snapshots(
                    conn,
                    run_date=session,
                    tickers=tickers,
                    folder=project.checkpoint_folder,
                    settings=project.settings,
                    calendar=calendar,
                    simulation_id=simulation_id,
                    exports=export_folder(project),
                )
        except LedgerRefused as refused:
            outcome.failed.update({DailyPartition(session, ticker).key: str(refused) for ticker in tickers})
            continue
        reports.append(report)
        outcome.summary.append(report.cohort)
        outcome.notes.extend([*report.backend_notes, *report.baseline_notes, *report.shadow_notes])
        if report.num_shadows:
            outcome.summary.append(f"{counted(report.num_shadows, 'shadow forecast')} in addition, never counted")
        refused = {conflict.ticker: conflict.reason for conflict in report.conflicts}
        outcome.notes.extend(f"refused, the first row stays: {reason}" for reason in refused.values())
        for row in report.rows:
            key = DailyPartition(session, row.ticker).key
            outcome.done[key] = {
                **_metadata(row),
                **({"refused, the first row stays": refused[row.ticker]} if row.ticker in refused else {}),
            }
    return outcome, reports


def newest_session(report: SnapshotReport) -> dg.AssetMaterialization:
    """Another event of one ticker, with the forecasts of all tickers of its session in a table.

    The overview page of an asset shows the newest event alone, and Dagster writes the events of a range in any order.
    """
    row = report.rows[-1]
    metadata = {**unplotted(_metadata(row)), "all tickers": _table_of(report)}
    return dg.AssetMaterialization(
        "snapshots", partition=DailyPartition(row.run_date, row.ticker).key, metadata=metadata
    )


def _metadata(row: SnapshotRow) -> Metadata:
    """The forecast on record; an abstention has target sessions and its reason."""
    shown: dict[str, str | None] = {"kind": row.kind, "direction": row.direction_pred or "abstained"}
    if row.run_date_close is not None:
        shown["close"] = price_text(row.run_date_close)
    for horizon, name in HORIZON_NAMES.items():
        price, target = getattr(row, f"{horizon}_pred"), getattr(row, f"{horizon}_session")
        shown[name] = f"{target}" if price is None else f"{price_text(price)} for {target}{_intervals(row, horizon)}"
    if row.next_day_session == row.next_monday_session:
        shown["note"] = SAME_SESSION
    if row.abstained_reason is not None:
        shown["abstained"] = row.abstained_reason
    else:
        shown["model"] = row.model_name if row.backend in (None, "torch") else f"{row.model_name}, by {row.backend}"
    return shown


COLUMNS = ("ticker", "direction", "close", *HORIZON_NAMES.values(), "kind", "model or reason")


def _table_of(report: SnapshotReport) -> dg.MetadataValue:
    rows = [
        (
            row.ticker,
            row.direction_pred or "abstained",
            "" if row.run_date_close is None else price_text(row.run_date_close),
            *(_price(row, horizon) for horizon in HORIZONS),
            row.kind,
            row.abstained_reason or row.model_version or str(row.model_status),
        )
        for row in report.rows
    ]
    return table(COLUMNS, rows)


def _price(row: SnapshotRow, horizon: str) -> str:
    """The forecast of a horizon with its 80% interval."""
    price, ends = getattr(row, f"{horizon}_pred"), row.interval(horizon, 80)
    if price is None:
        return ""
    return price_text(price) + (f" ({_range(ends)})" if ends else "")


def _intervals(row: SnapshotRow, horizon: str) -> str:
    """The intervals of a horizon in words; empty without any."""
    found = {percent: ends for percent in (80, 95) if (ends := row.interval(horizon, percent))}
    return "".join(f", {percent}%: {_range(ends)}" for percent, ends in found.items())


def _range(ends: tuple[float, float]) -> str:
    return f"{price_text(ends[0])} to {price_text(ends[1])}"
