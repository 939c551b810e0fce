"""The page Operations: what needs attention, the last daily runs, alerts, freshness, GPU slots and next runs."""

import polars as pl
import streamlit as st

from ldtm_dashboard import views
from ldtm_dashboard.frames.operations import DagsterView, OperationsView
from ldtm_dashboard.screens import parts
from ldtm_lib.alerts.alert import automation_link

MAX_ALERTS = 40
"""Alerts that are shown; a failing source raises one for each ticker."""


def page() -> None:
    """Draw the page."""
    found, dagster = views.operation()
    st.header("Needs attention")
    if found.needs:
        st.warning("\n".join(f"- {line}" for line in found.needs), icon=":material/warning:")
    else:
        st.success("Nothing needs attention.", icon=":material/check_circle:")
    freshness(found)
    schedules(dagster)
    st.header("Daily runs")
    if found.daily_runs.is_empty():
        st.info(
            "No daily run has been attempted yet. `ldtm up` starts them after each close, `ldtm run` starts one now."
        )
    else:
        runs(found)
    st.header("Pending partitions")
    if found.pending.is_empty():
        st.caption("Nothing is pending.")
    else:
        partitions(found)
    st.header("Alerts of the last seven days")
    if found.alerts.is_empty():
        st.caption("No alert is open, and none was resolved in the last seven days.")
    else:
        alerts(found)


def freshness(found: OperationsView) -> None:
    """Show the freshness of the newest session."""
    newest = found.newest
    st.header(f"Session {newest.session}")
    columns = st.columns(4)
    columns[0].metric("Bars", f"{newest.num_tickers - len(newest.without_bar)} of {newest.num_tickers}")
    columns[1].metric("Live rows", f"{newest.num_live}")
    columns[2].metric("Actuals not filled", f"{len(newest.unfilled)}")
    columns[3].metric("Without active model", f"{found.num_without_model} of {found.num_in_universe}")
    st.caption(
        f"Deadline: {parts.moment(newest.deadline)}, the open of the next session. As of {parts.moment(newest.moment)}."
    )


def schedules(dagster: DagsterView | None) -> None:
    """Next runs, GPU slots and newest runs of Dagster."""
    ui = views.reader().project.settings.ui.url.rstrip("/")
    st.header("Dagster")
    if dagster is None:
        st.info(
            "Dagster was never started here, or its storage does not answer; run `ldtm up`.",
            icon=":material/info:",
        )
        return
    state = dagster.status
    columns = st.columns(3)
    columns[0].metric("Daemons", "alive" if state.is_alive else "silent")
    columns[1].metric(
        "GPU slots held", f"{state.gpu_slots_held} of {parts.NOTHING if state.gpu_slots is None else state.gpu_slots}"
    )
    columns[2].metric("Queued runs", state.num_queued)
    if state.silent:
        st.markdown(f"Without a recent heartbeat: the daemons of {', '.join(state.silent)}. `ldtm up` starts them.")
    ticks = "\n".join(f"- {tick.schedule}: {parts.moment(tick.at)}" for tick in state.next_ticks)
    st.markdown(f"Next runs:\n{ticks}" if ticks else "No schedule is on: set `automation.enabled = true`.")
    st.markdown(f"[Schedules and sensors in Dagster]({ui}{automation_link()})")
    if not dagster.runs.is_empty():
        titles = {
            "job": "Job",
            "status": "Status",
            "started_at": "Started (UTC)",
            "ended_at": "Ended (UTC)",
            "link": "Run",
        }
        parts.small_table(dagster.runs, titles)


def runs(found: OperationsView) -> None:
    """The sessions that were attempted."""
    frame = found.daily_runs.with_columns(
        pl.format("{} of {}", "num_done", "num_tickers").alias("done"), pl.col("reasons").list.join("; ").alias("why")
    )
    titles = {
        "session": "Session",
        "done": "Tickers done",
        "num_attempts": "Attempts, at most",
        "first_attempt_at": "First attempt (UTC)",
        "done_at": "Last ticker done (UTC)",
        "why": "Reasons for tickers not done",
    }
    parts.small_table(frame, titles)


def partitions(found: OperationsView) -> None:
    """Show the pending partitions."""
    shown = {
        "session": st.column_config.DateColumn("Session", pinned=True),
        "ticker": parts.text("Ticker"),
        "lacks": parts.text("Missing"),
        "num_attempts": parts.number("Attempts", "%d"),
        "deadline": parts.utc("Deadline"),
        "reason": parts.text("Reason"),
        "link": parts.link("Partition"),
    }
    parts.table(found.pending, shown, key="pending", height=320)


def alerts(found: OperationsView) -> None:
    """Open alerts first."""
    titles = {
        "state": "State",
        "severity": "Severity",
        "session": "Session",
        "subject": "Subject",
        "summary": "Summary",
        "since": "Since (UTC)",
        "link": "Dagster",
    }
    parts.small_table(found.alerts.head(MAX_ALERTS), titles)
    if found.alerts.height > MAX_ALERTS:
        st.caption(f"And {found.alerts.height - MAX_ALERTS} more: `ldtm alerts list`.")
