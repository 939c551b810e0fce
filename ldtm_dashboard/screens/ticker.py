"""The page Ticker: prices and forecasts of one ticker, its errors, calibration, splits and models."""

import streamlit as st

from ldtm_dashboard import views
from ldtm_dashboard.frames.ticker import (
    HORIZONS,
    SPANS,
    TickerView,
    lifecycle_sentences,
)
from ldtm_dashboard.screens import parts


def page() -> None:
    """Draw the page."""
    event = views.newest_event()
    kinds, _, tickers = views.choices(event)
    if not tickers:
        st.info(
            "No ticker has a row yet. `ldtm bootstrap` loads bars, trains models and simulates past sessions; then "
            "tickers are in service.",
            icon=":material/info:",
        )
        return
    columns = st.columns(4)
    with columns[0]:
        name = parts.choose_ticker(tickers)
    with columns[1]:
        rows = parts.choose_rows(kinds, parts.preferred_rows(kinds, event))
    with columns[2]:
        span = st.selectbox("Span", list(SPANS))
    with columns[3]:
        horizon = st.selectbox("Horizon", list(HORIZONS), format_func=lambda key: HORIZONS[key])
    if (since := views.left().get(name)) is not None:
        st.warning(f"{name} left the universe on {since}. Its history stays on record.", icon=":material/logout:")
    found = views.one_ticker(event, name, rows, SPANS[span])
    drawn = views.ticker_charts(event, name, rows, SPANS[span], horizon)
    prices(found, horizon, drawn)
    judgement(drawn)
    models(found)


def prices(found: TickerView, horizon: str, drawn: views.TickerCharts) -> None:
    """Candles with the forecasts, and the splits."""
    st.header(f"Prices and {HORIZONS[horizon]} forecasts")
    if found.bars.is_empty():
        st.info(
            f"No bar of {found.ticker} is stored; `ldtm prices import` loads them from files.", icon=":material/info:"
        )
        return
    st.caption(
        "Hollow candles rose, filled ones fell. A diamond is a forecast at its target session, and its line is the "
        "80% interval. All prices are adjusted for the splits up to today; a dotted vertical line is a split."
    )
    parts.chart(drawn.candles)
    for session, ratio, recorded_at in found.splits.iter_rows():
        st.markdown(f"Split on {session}: {ratio:g} new shares for one, recorded {parts.moment(recorded_at)}.")


def judgement(drawn: views.TickerCharts) -> None:
    """Errors over time and calibration."""
    left, right = st.columns(2)
    with left:
        st.header("Error over time")
        if drawn.errors is None:
            st.info("No forecast of this horizon has been filled in the span; choose other rows or a longer span.")
        else:
            parts.chart(drawn.errors)
            st.caption(
                "Each point is the mean over the last 30 filled forecasts, or over fewer at the beginning. The "
                "dashed line is forecasting no change."
            )
    with right:
        st.header("Calibration, next day")
        if drawn.calibration is None:
            st.info("No next-day forecast has been filled in the span.")
        else:
            parts.chart(drawn.calibration)
            st.caption(
                "Larger forecasts should come with larger returns. Each point is the mean of a group of forecasts; "
                "exact forecasts would lie on the dashed diagonal."
            )


def models(found: TickerView) -> None:
    """Verdicts in plain words with the figures of a coin, and the lifecycle of the versions."""
    st.header("Verdicts of the gate")
    if not found.cards:
        st.info(f"No model of {found.ticker} was judged yet; `ldtm train {found.ticker}` trains and judges one.")
    for number, card in enumerate(found.cards):
        with st.expander(card[1], expanded=number == 0):
            st.markdown("\n".join(f"- {line}" for line in (card[0], *card[2:])))
    if found.cards:
        st.caption(views.placebo(found.ticker))
    st.header("Lifecycle")
    sentences = lifecycle_sentences(found.versions)
    st.markdown("\n".join(f"- {line}" for line in sentences) or "No version was ever active.")
