"""The page Leaderboard: accuracy and errors of the tickers, and what luck can explain."""

import polars as pl
import streamlit as st

from ldtm_dashboard import views
from ldtm_dashboard.frames.leaderboard import WINDOWS, BoardFilter, BoardView
from ldtm_dashboard.screens import parts
from ldtm_lib.ledger.simulations import RowKind

ALL_VERSIONS = "all versions"
HORIZON_TITLES = {"next_day": "Next day", "next_monday": "Next Monday", "one_month": "One month"}
OVER_TIME = {"1 year": 252, "3 years": 756}


def page() -> None:
    """Draw the page."""
    event = views.newest_event()
    kinds, versions, _ = views.choices(event)
    left, middle, right = st.columns(3)
    with left:
        rows = parts.choose_rows(kinds, parts.preferred_rows(kinds, event))
    with middle:
        window = st.selectbox("Window", WINDOWS, format_func=lambda n: f"{n} filled sessions of each ticker")
    with right:
        version = st.selectbox("Model version", [ALL_VERSIONS, *versions])
    asked = BoardFilter(rows=rows, num_sessions=window, version=None if version == ALL_VERSIONS else version)
    board = views.board(event, asked, tuple(views.left().items()))
    if not board.universe["num_filled"]:
        st.info(
            f"No forecast has been filled yet ({rows.name}, {version}). A daily run records forecasts after the close "
            "and fills actuals when their bars come: start it with `ldtm up`. `ldtm bootstrap` simulates past "
            "sessions; choose a simulation under Rows.",
            icon=":material/info:",
        )
        return
    universe(board)
    over_time(event, asked.rows)
    ranks(event, board, asked)


def universe(board: BoardView) -> None:
    """The figures of all tickers together."""
    figures, accuracy = board.universe, board.universe_accuracy
    columns = st.columns(5)
    columns[0].metric(
        "Direction right",
        parts.share(accuracy.value if accuracy else None),
        parts.interval(accuracy.low, accuracy.high) if accuracy else "no direction named",
        delta_color="off",
        delta_arrow="off",
    )
    columns[1].metric(
        "Coverage", parts.share(figures["coverage"]), "named a direction", delta_color="off", delta_arrow="off"
    )
    for column, (horizon, name) in zip(
        columns[2:],
        HORIZON_TITLES.items(),
        strict=True,
    ):
        value = figures[f"{horizon}_ratio"]
        word = parts.beside_no_change(value)
        column.metric(f"{name} error", parts.ratio(value), word, delta_color="off", delta_arrow="off")
    st.caption(
        f"{figures['num_filled']:,} filled forecasts of the run dates {figures['first_run_date']} to "
        f"{figures['last_run_date']}. Errors are mean absolute errors divided by those of forecasting no change: below "
        "1 is better."
    )
    ranked = board.tickers["accuracy"].count()
    st.markdown(
        f"**Luck:** {board.num_above_coin} of {ranked} tickers have a 95% interval entirely above 50%; "
        f"of as many coins, about {board.num_expected_above:.1f} would have one."
    )


@st.fragment
def over_time(event: int, rows: RowKind) -> None:
    """The universe by run date; another span redraws only this part."""
    st.header("Universe over time")
    span = st.radio("Span", list(OVER_TIME), horizontal=True, label_visibility="collapsed")
    accuracy, ratio = views.universe_charts(event, rows, OVER_TIME[span])
    st.markdown("Direction right over the 30 sessions up to each run date, with its 95% interval")
    parts.chart(accuracy)
    st.markdown("Next-day error divided by that of forecasting no change, over the same sessions")
    parts.chart(ratio)


def ranks(event: int, board: BoardView, asked: BoardFilter) -> None:
    """The table of the tickers, and their intervals as a chart."""
    st.header("Tickers")
    shown = board.tickers.with_columns(
        pl.when(pl.col("rank_low").is_not_null())
        .then(pl.format("{} to {}", "rank_low", "rank_high"))
        .otherwise(pl.lit(parts.NOTHING))
        .alias("ranks")
    )
    st.caption(
        "Tickers are ranked by the lower end of the 95% interval of their direction accuracy (Right). Ranks 95%: "
        "simultaneous 95% confidence intervals of the ranks by accuracy. Calls: forecasts that named a direction. "
        "Coverage: their share of the filled forecasts. ×: error divided by that of forecasting no change; below 1 is "
        "better. Click a heading to sort."
    )
    columns = {
        "ticker": parts.text("Ticker", pinned=True),
        "rank": parts.number("Rank", "%d"),
        "ranks": parts.text("Ranks 95%"),
        "accuracy": parts.percent("Right"),
        "accuracy_low": parts.percent("95% from"),
        "accuracy_high": parts.percent("95% to"),
        "num_directional": parts.number("Calls", "%d"),
        "coverage": parts.percent("Coverage"),
        "next_day_ratio": parts.number("Next day ×", "%.3f", help="error / error of forecasting no change"),
        "next_monday_ratio": parts.number("Monday ×", "%.3f"),
        "one_month_ratio": parts.number("Month ×", "%.3f"),
        "status": parts.text("Status"),
    }
    parts.table(parts.in_percent(shown, "accuracy", "accuracy_low", "accuracy_high", "coverage"), columns, key="ranks")
    name = f"ldtm_leaderboard_{asked.rows.name.replace(' ', '_')}_{asked.num_sessions}.csv"
    st.download_button(
        "Download CSV",
        shown.drop("gate_reasons").write_csv(),
        file_name=name,
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    parts.chart(views.tickers_chart(event, asked, tuple(views.left().items())))
