"""The page Models: the registry with the evidence of the gate, and the losses of trainings."""

import streamlit as st

from ldtm_dashboard import views
from ldtm_dashboard.screens import parts


def page() -> None:
    """Draw the page."""
    event = views.newest_event()
    found = views.all_models(event)
    if found.is_empty():
        st.info(
            "No model was trained yet. `ldtm bootstrap` or `ldtm train` trains and judges models.",
            icon=":material/info:",
        )
        return
    active = found["active"].count()
    passed = int((found["gate"] == "✓ passed").sum())
    for column, (name, value) in zip(
        st.columns(4),
        {
            "Active": f"{active} of {found.height}",
            "Newest verdict passed": f"{passed} of {found.height}",
            "Coins that would pass": f"{found['coin_passes'].sum():.1f} of {found['coin_passes'].count()}",
            "Retired versions": f"{found['num_retired'].sum()}",
        }.items(),
        strict=True,
    ):
        column.metric(name, value)
    st.caption(
        "Figures of the newest backtest. Right: share of the calls that named the right direction, with its 95% "
        "interval. Calls: forecasts that named a direction. ×: error divided by that of forecasting no change; below 1 "
        "is better. Coin: the chance that a coin with as many calls passes the rule of direction accuracy."
    )
    columns = {
        "ticker": parts.text("Ticker", pinned=True),
        "gate": parts.text("Newest verdict"),
        "active": parts.text("Active version"),
        "candidate_trained_on": st.column_config.DateColumn("Candidate trained on"),
        "num_retired": parts.number("Retired", "%d"),
        "accuracy": parts.percent("Right"),
        "accuracy_low": parts.percent("95% from"),
        "accuracy_high": parts.percent("95% to"),
        "num_directional": parts.number("Calls", "%d"),
        "coin_passes": parts.percent("Coin"),
        "next_day_ratio": parts.number("Next day ×", "%.3f"),
        "next_monday_ratio": parts.number("Monday ×", "%.3f"),
        "one_month_ratio": parts.number("Month ×", "%.3f"),
        "judged": st.column_config.DateColumn("Judged (UTC)"),
        "reasons": parts.text("Reasons for refusal"),
    }
    shown = parts.in_percent(found, "accuracy", "accuracy_low", "accuracy_high", "coin_passes")
    parts.table(shown, columns, key="models")
    st.header("Loss curves")
    name = parts.choose_ticker(found["ticker"].to_list())
    curves = views.losses_chart(event, name)
    if curves is None:
        st.info(f"No network of {name} has losses on record.", icon=":material/info:")
        return
    parts.chart(curves)
    st.caption("A network is better than forecasting no change if its validation loss ends below that of no change.")
