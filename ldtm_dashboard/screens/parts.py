"""Parts that several pages have: the choice of rows, figures with their intervals, tables, and moments."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from ldtm_dashboard import views
from ldtm_dashboard.charts import Spec
from ldtm_lib.ledger.simulations import LIVE, RowKind

NOTHING = "–"
NEW_YORK = ZoneInfo("America/New_York")
TABLE_HEIGHT = 620
MARKS = re.compile(r"([\\`*_{}\[\]()<>#+.!|~$:-])")
"""Characters with a meaning in Markdown."""


def choose_rows(kinds: Sequence[RowKind], preferred: RowKind) -> RowKind:
    """A choice among live rows, late rows and simulations."""
    names = {kind.name: kind for kind in kinds}
    chosen = st.selectbox(
        "Rows", list(names), index=list(kinds).index(preferred), help="Only live rows count as the track record."
    )
    rows = names[chosen]
    if rows.kind == "simulated":
        st.caption(
            "Simulated rows were recorded after the fact, by models trained before each run date. They are not live."
        )
    return rows


def choose_ticker(tickers: Sequence[str]) -> str:
    """A choice among tickers; the address of the page keeps it."""
    asked = st.query_params.get("ticker", "")
    gone = views.left()
    chosen = st.selectbox(
        "Ticker",
        tickers,
        index=tickers.index(asked) if asked in tickers else 0,
        format_func=lambda name: f"{name} (left on {gone[name]})" if name in gone else name,
    )
    if chosen != asked:
        st.query_params["ticker"] = chosen
    return chosen


def preferred_rows(kinds: Sequence[RowKind], event: int) -> RowKind:
    """Live rows if one is filled, else the newest simulation."""
    from ldtm_dashboard.frames.leaderboard import BoardFilter

    live = views.board(event, BoardFilter(), tuple(views.left().items()))
    simulations = [kind for kind in kinds if kind.kind == "simulated"]
    return simulations[0] if simulations and not live.universe["num_filled"] else LIVE


def plain(words: str) -> str:
    """Words of a file, a source or an error in Markdown that shows them as they are: no link, image or formula."""
    return MARKS.sub(r"\\\1", words)


def share(value: object) -> str:
    """A share in percent."""
    return f"{value:.1%}" if isinstance(value, float) else NOTHING


def ratio(value: object) -> str:
    """An error divided by that of no change."""
    return f"{value:.3f} ×" if isinstance(value, float) else NOTHING


def beside_no_change(value: object) -> str:
    """An error compared with that of no change, in words."""
    if not isinstance(value, float):
        return "nothing filled yet"
    return "better than no change" if value < 1 else "no better than no change"


def interval(low: float | None, high: float | None) -> str:
    """The ends of a 95% interval."""
    return f"95%: {low:.0%} to {high:.0%}" if low is not None and high is not None else "no interval yet"


def moment(at: datetime | None) -> str:
    """A moment in UTC and in New York."""
    if at is None:
        return NOTHING
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({at.astimezone(NEW_YORK):%H:%M} New York)"


def table(frame: pl.DataFrame, columns: Mapping[str, ColumnConfig], *, key: str, height: int | None = None) -> None:
    """A sortable table of the named columns in their order; the first one stays in sight."""
    fits = 38 + 35 * max(frame.height, 1)
    st.dataframe(
        frame.select(list(columns)),
        column_config=columns,
        hide_index=True,
        width="stretch",
        height=min(fits, height or TABLE_HEIGHT),
        key=key,
        placeholder=NOTHING,
    )


def text(label: str, *, pinned: bool = False, help: str | None = None) -> ColumnConfig:
    """A column of words."""
    return st.column_config.TextColumn(label, pinned=pinned, help=help)


def number(label: str, form: str = "%.2f", *, help: str | None = None) -> ColumnConfig:
    """A column of numbers."""
    return st.column_config.NumberColumn(label, format=form, help=help)


def chart(spec: Spec) -> None:
    """A chart in the width of the page."""
    st.vega_lite_chart(spec, width="stretch")


def percent(label: str) -> ColumnConfig:
    """A column of shares, which `in_percent` has multiplied."""
    return st.column_config.NumberColumn(label, format="%.1f%%")


def in_percent(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The frame with some shares in percent."""
    return frame.with_columns(pl.col(columns) * 100)


def small_table(frame: pl.DataFrame, titles: Mapping[str, str]) -> None:
    """A short table as plain HTML, which screen readers and printers can handle: moments in UTC, links as words."""
    moments = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    words = [name for name, kind in frame.schema.items() if kind == pl.String and name != "link"]
    shown = frame.with_columns(
        *(pl.col(name).map_elements(plain, return_dtype=pl.String) for name in words),
        *(pl.col(name).dt.strftime("%Y-%m-%d %H:%M") for name in moments),
        *(pl.format("[open in Dagster]({})", "link").alias("link") for _ in range("link" in frame.columns)),
    )
    written = shown.select(
        pl.col(name).cast(pl.String).fill_null(NOTHING).alias(title) for name, title in titles.items()
    )
    st.table(written, hide_index=True)


def utc(label: str) -> ColumnConfig:
    """A column of moments in UTC."""
    return st.column_config.DatetimeColumn(f"{label} (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC")


def link(label: str) -> ColumnConfig:
    """A column of links into Dagster's UI."""
    return st.column_config.LinkColumn(label, display_text="open in Dagster")
