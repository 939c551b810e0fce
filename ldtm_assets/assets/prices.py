"""Bars: the assets `price_history` (all bars of a ticker) and `prices` (the bar of one session)."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from ldtm_assets.materialization import Metadata, Outcome, fail_if_any_failed, record
from ldtm_assets.partitions import DailyLayout, DailyPartition
from ldtm_assets.resources import ProjectResource
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.errors import LdtmError, MissingBar
from ldtm_lib.prices.fetch_ranges import Range, fetch_ranges
from ldtm_lib.prices.group_fetch import FetchReport, fetch_and_ingest
from ldtm_lib.prices.quarantine import open_quarantine, without_valid_bar
from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.prices.splits import Split
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.sessions import FIRST_DAY, Calendar, exchange_calendar
from ldtm_lib.wording import price_text


class HistoryConfig(dg.Config):
    """Extent of a history."""

    last_session: str | None = Field(
        default=None, description="The last session to load, YYYY-MM-DD. Default: the newest closed session."
    )


def price_history(tickers: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset `price_history`, partitioned by ticker."""

    @dg.asset(
        name="price_history",
        partitions_def=tickers,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="prices",
        kinds={"postgres", "polars"},
    )
    def asset(context: dg.AssetExecutionContext, config: HistoryConfig, project: ProjectResource) -> Any:
        """All daily bars that the source has for a ticker, split-adjusted, as vintages; for first loads and repairs."""
        opened, calendar = project.open(), exchange_calendar()
        outcome = load_histories(opened, calendar, context.partition_keys, config.last_session)
        yield from record(context, "price_history", outcome)
        fail_if_any_failed({"price_history": outcome})

    return asset


def load_histories(project: Project, calendar: Calendar, tickers: Sequence[str], last_session: str | None) -> Outcome:
    """Fetch and record whole histories."""
    with project.database.transaction() as conn:
        newest = last_closed_session(conn)
    last = min(calendar.require_session(date.fromisoformat(last_session)), newest) if last_session else newest
    fetched = _fetch(project, calendar, {(FIRST_DAY, last): tickers})
    with project.database.transaction() as conn:
        failures = {ticker: str(error) for ticker, error in fetched.failures.items()}
        failures |= without_valid_bar(conn, fetched.per_ticker) | dict(fetched.held_back)
    counts = {row["ticker"]: row for row in fetched.per_ticker.iter_rows(named=True)}
    splits = _splits_by_ticker(fetched.splits)
    outcome = Outcome(notes=list(fetched.notes))
    for ticker in tickers:
        if ticker in failures:
            outcome.failed[ticker] = failures[ticker]
        else:
            outcome.done[ticker] = {**_counts(counts[ticker]), "splits noticed": ", ".join(splits[ticker]) or "none"}
    return outcome


def prices_spec(layout: DailyLayout) -> dg.AssetSpec:
    """The asset `prices`, partitioned as `layout` says."""
    return dg.AssetSpec(
        "prices",
        deps=[dg.AssetDep("price_history", partition_mapping=layout.of_its_ticker())],
        description="The bar of one session, split-adjusted. Every vintage is kept.",
        partitions_def=layout.definition,
        group_name="prices",
        kinds={"postgres"},
        skippable=True,
    )


def fetch_prices(project: Project, calendar: Calendar, partitions: Sequence[DailyPartition]) -> Outcome:
    """Fetch and record the bars of some partitions, and earlier missing bars of their tickers (see `fetch_ranges`).

    A partition whose bar is stored already is done even when the source fails: files may have been imported by hand.
    """
    if not partitions:
        return Outcome()
    tickers = list(dict.fromkeys(partition.ticker for partition in partitions))
    first, last = min(partition.session for partition in partitions), max(partition.session for partition in partitions)
    with project.database.transaction() as conn:
        ranges = fetch_ranges(
            conn,
            [(partition.session, partition.ticker) for partition in partitions],
            newest_closed=last_closed_session(conn),
            calendar=calendar,
        )
    fetched = _fetch(project, calendar, ranges)
    with project.database.transaction() as conn:
        held = current_bars(conn, tickers, first=first, last=last)
        refused = open_quarantine(conn)
    bars = {(row["ticker"], row["session"]): row for row in held.iter_rows(named=True)}
    reasons = {(row["ticker"], row["session"]): row["reason"] for row in refused.iter_rows(named=True)}
    failures = {**fetched.failures, **{ticker: MissingBar(reason) for ticker, reason in fetched.held_back.items()}}
    splits = _splits_by_ticker(fetched.splits)
    outcome = Outcome(notes=list(fetched.notes))
    for partition in partitions:
        if bar := bars.get((partition.ticker, partition.session)):
            noticed = {"splits noticed": ", ".join(splits[partition.ticker])} if partition.ticker in splits else {}
            shown = {"close": price_text(bar["close"]), "volume": f"{bar['volume']:,.0f}"}
            outcome.done[partition.key] = {**shown, **noticed}
        else:
            outcome.failed[partition.key] = _why_missing(partition, failures, reasons)
    return outcome


def _fetch(project: Project, calendar: Calendar, ranges: Mapping[Range, Sequence[str]]) -> FetchReport:
    """Request bars from the configured source, and record them."""
    settings = project.settings
    return fetch_and_ingest(
        project.database,
        lambda moment: open_source(settings, os.environ, moment),
        ranges,
        source=settings.source.kind,
        calendar=calendar,
    )


def _why_missing(
    partition: DailyPartition, failures: Mapping[str, LdtmError], reasons: dict[tuple[str, date], str]
) -> str:
    if reason := reasons.get((partition.ticker, partition.session)):
        return (
            f"the bar of {partition.ticker} on {partition.session} was refused: {reason}; see `ldtm prices quarantine`"
        )
    if partition.ticker in failures:
        return str(failures[partition.ticker])
    return str(MissingBar(f"there is no bar of {partition.ticker} for {partition.session}; materialize it again later"))


def _counts(row: dict[str, Any]) -> Metadata:
    return {
        name.removeprefix("num_"): row[name] for name in ("num_new", "num_restated", "num_unchanged", "num_refused")
    }


def _splits_by_ticker(noticed: Sequence[Split]) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = defaultdict(list)
    for split in noticed:
        splits[split.ticker].append(f"{split.ratio:g} for 1 on {split.session}")
    return splits
