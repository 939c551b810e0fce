"""Fillbacks: the actuals that a session's close provides for earlier forecasts."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from ldtm_assets.materialization import Metadata, Outcome
from ldtm_assets.partitions import DailyLayout, DailyPartition
from ldtm_lib.ledger.fillbacks import HorizonState, fill, horizon_states
from ldtm_lib.project import Project
from ldtm_lib.sessions import HORIZON_NAMES, ONE_MONTH_SESSIONS
from ldtm_lib.wording import price_text


def fillbacks_spec(layout: DailyLayout) -> dg.AssetSpec:
    """The asset `fillbacks`, partitioned as `layout` says."""
    return dg.AssetSpec(
        "fillbacks",
        deps=["prices", dg.AssetDep("snapshots", partition_mapping=layout.earlier_sessions(ONE_MONTH_SESSIONS))],
        description="The actuals that this session's close provided for earlier forecasts of the partition's tickers.",
        partitions_def=layout.definition,
        group_name="forecasts",
        kinds={"postgres"},
        skippable=True,
    )


def fill_actuals(project: Project, partitions: Sequence[DailyPartition]) -> Outcome:
    """Fill the actuals that are due on the sessions of some partitions, each session in one batch."""
    outcome = Outcome()
    for session in sorted({partition.session for partition in partitions}):
        tickers = [partition.ticker for partition in partitions if partition.session == session]
        with project.database.transaction() as conn:
            report = fill(conn, as_of=session, config=project.settings.ledger, tickers=tickers)
            states: dict[str, list[HorizonState]] = defaultdict(list)
            for state in horizon_states(conn, session, tickers):
                states[state.ticker].append(state)
        by_ticker = {row["ticker"]: row for row in report.per_ticker.iter_rows(named=True)}
        for ticker in tickers:
            outcome.done[DailyPartition(session, ticker).key] = _metadata(by_ticker.get(ticker, {}), states[ticker])
        outcome.notes.extend(
            f"voided: {ticker} {run_date} {HORIZON_NAMES[horizon]}, {reason}"
            for ticker, run_date, horizon, _, reason in report.voided.iter_rows()
        )
        outcome.notes.extend(
            f"restated: the actual of the {HORIZON_NAMES[row['horizon']]} forecast of {row['ticker']} made on "
            f"{row['run_date']} is {_price(row['restated_actual'])} according to a later bar; {_price(row['actual'])} "
            "stays on record"
            for row in report.restated.iter_rows(named=True)
        )
    return outcome


def _price(actual: float | None) -> str:
    return "no value" if actual is None else price_text(actual)


def _metadata(counts: Mapping[str, Any], states: Sequence[HorizonState]) -> Metadata:
    """Filled and open forecasts of the ticker as counts, and the state of this date's forecast by horizon."""
    shown = {
        f"{state.replace('_', ' ')}, {name}": counts[f"num_{state}_{horizon}"]
        for state in ("filled", "open", "without_bar")
        for horizon, name in HORIZON_NAMES.items()
        if f"num_{state}_{horizon}" in counts
    }
    horizons = [f"{HORIZON_NAMES[s.horizon]} ({s.target_session}): {s.state}" for s in states]
    return {**shown, "horizons of this date's forecast": "; ".join(horizons) or "there is no forecast of this date"}
