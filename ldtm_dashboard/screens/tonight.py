"""The page Tonight: the newest forecasts, and whether they were recorded in time."""

import polars as pl
import streamlit as st

from ldtm_dashboard import views
from ldtm_dashboard.frames.tonight import ABSTAINED, Tonight
from ldtm_dashboard.screens import parts
from ldtm_lib.alerts.alert import partition_link
from ldtm_lib.wording import counted


def page() -> None:
    """Draw the page."""
    found = views.newest_forecasts(views.newest_event())
    if found is None:
        st.info(
            "No forecast is on record. `ldtm bootstrap` loads bars, trains models and simulates past sessions; `ldtm "
            "up` starts the daily runs, which record forecasts after each close.",
            icon=":material/info:",
        )
        return
    st.header(f"Forecasts of {found.run_date}, {found.kind}")
    st.markdown(f"Deadline: {parts.moment(found.deadline)}, the open of the next session. " + _in_time(found))
    st.caption("Targets: " + ", ".join(f"{name} {session:%a %Y-%m-%d}" for name, session in found.targets.items()))
    for column, (word, count) in zip(st.columns(len(found.counts)), found.counts.items(), strict=True):
        column.metric(word, count)
    st.caption(
        "Next to each price are the ends of its 80% interval, blank without one. Change: the next-day price relative "
        "to the close. A forecast of no change would equal the close."
    )
    prices = {
        "ticker": parts.text("Ticker", pinned=True),
        "direction": parts.text("Direction"),
        "close": parts.number("Close"),
        "next_day": parts.number("Next day"),
        "next_day_change": parts.number("Change %", "%+.2f"),
        "next_day_low": parts.number("80% from"),
        "next_day_high": parts.number("80% to"),
        "next_monday": parts.number("Next Monday"),
        "next_monday_low": parts.number("80% from "),
        "next_monday_high": parts.number("80% to "),
        "one_month": parts.number("One month"),
        "one_month_low": parts.number("80% from  "),
        "one_month_high": parts.number("80% to  "),
        "in_time": parts.text("In time"),
        "recorded_at": parts.utc("Recorded"),
        "model": parts.text("Model"),
        "link": parts.link("Partition"),
    }
    parts.table(_with_links(found), prices, key="tonight")
    abstained = found.rows.filter(found.rows["direction"] == ABSTAINED)
    if not abstained.is_empty():
        st.header("Abstentions")
        for reason, tickers in abstained.group_by("reason", maintain_order=True).agg("ticker").iter_rows():
            st.markdown(f"- {len(tickers)} × **{parts.plain(reason)}**: {', '.join(tickers)}")


def _with_links(found: Tonight) -> pl.DataFrame:
    """The rows with the partition of each in Dagster, where rows of daily runs have one."""
    settings = views.reader().project.settings
    ui, key = settings.ui.url.rstrip("/"), settings.partitions.key
    links = [ui + partition_link("snapshots", key(found.run_date, ticker)) for ticker in found.rows["ticker"]]
    return found.rows.with_columns(pl.Series("link", links if found.kind == "live" else [None] * len(links), pl.String))


def _in_time(found: Tonight) -> str:
    if found.kind != "live":
        return "**Simulated rows:** they were made after the fact, and none of them counts as live."
    if not found.num_late:
        return "Every row was recorded in time."
    return f"Recorded after the deadline: **{counted(found.num_late, 'row')}**. Late rows do not count as live."
