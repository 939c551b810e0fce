"""The views of the pages, cached by the newest event of the record: unchanged data is not read again."""

import os
from dataclasses import dataclass
from datetime import date

import polars as pl
import streamlit as st

from ldtm_dashboard import charts
from ldtm_dashboard.charts import Spec
from ldtm_dashboard.frames import leaderboard, models, operations, record, tables, ticker, tonight
from ldtm_dashboard.frames.proofs import ProofResult, verify_upload
from ldtm_dashboard.reading import Reader, open_reader
from ldtm_lib.ledger.simulations import RowKind
from ldtm_lib.placebo.kept import kept_calibration, placebo_words
from ldtm_lib.project import config_path

CHECK_SECONDS = 5.0
"""Age of the number of the newest event at which a page in use reads it again."""
OPERATIONS_SECONDS = 20.0
"""Age of the state of operation, which changes without an event."""
NUM_KEPT = 60
"""Views of each kind that are kept."""
NUM_TICKER_CHARTS = 12
"""Charts of tickers that are kept: those of three years take some MiB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerCharts:
    """The charts of one ticker; None if nothing was filled."""

    candles: Spec
    errors: Spec | None
    calibration: Spec | None


@st.cache_resource(ttl=60.0, show_spinner=False)
def reader() -> Reader:
    """The installation; its configuration is read again every minute."""
    return open_reader(config_path(os.environ), os.environ)


@st.cache_resource(ttl=CHECK_SECONDS, show_spinner=False)
def newest_event() -> int:
    """The number of the newest event."""
    with reader().view() as conn:
        return tables.newest_event(conn)


def left() -> dict[str, date]:
    """The tickers that left the universe, with the first session without them."""
    return dict(reader().project.settings.retired)


@st.cache_resource(max_entries=2, show_spinner=False)
def choices(event: int) -> tuple[list[RowKind], list[str], list[str]]:
    """Kinds of rows, versions of models, and tickers on record."""
    del event
    with reader().view() as conn:
        return leaderboard.row_kinds(conn), leaderboard.versions(conn), tables.tickers_on_record(conn)


@st.cache_resource(max_entries=NUM_KEPT, show_spinner=False)
def board(event: int, asked: leaderboard.BoardFilter, gone: tuple[tuple[str, date], ...]) -> leaderboard.BoardView:
    """The leaderboard."""
    del event
    with reader().view() as conn:
        return leaderboard.board_view(conn, asked, dict(gone))


@st.cache_resource(max_entries=NUM_KEPT, show_spinner=False)
def tickers_chart(event: int, asked: leaderboard.BoardFilter, gone: tuple[tuple[str, date], ...]) -> Spec:
    """The tickers of a leaderboard with their intervals."""
    return charts.tickers_chart(board(event, asked, gone).tickers)


@st.cache_resource(max_entries=NUM_KEPT, show_spinner=False)
def universe_charts(event: int, rows: RowKind, num_sessions: int) -> tuple[Spec, Spec]:
    """The universe over time: accuracy, and error divided by that of no change."""
    del event
    with reader().view() as conn:
        points = leaderboard.universe_over_time(conn, rows, num_sessions)
    return charts.accuracy_chart(points), charts.ratio_chart(points)


@st.cache_resource(max_entries=2, show_spinner=False)
def newest_forecasts(event: int) -> tonight.Tonight | None:
    """The forecasts of the newest run date."""
    del event
    with reader().view() as conn:
        return tonight.tonight(conn)


@st.cache_resource(max_entries=NUM_KEPT, show_spinner=False)
def one_ticker(event: int, name: str, rows: RowKind, num_days: int) -> ticker.TickerView:
    """One ticker."""
    del event
    with reader().view() as conn:
        return ticker.ticker_view(conn, name, rows, num_days)


def placebo(name: str) -> str:
    """Result of the newest placebo calibration of the gate, in sentences."""
    return placebo_words(kept_calibration(reader().project.home), name)


@st.cache_resource(max_entries=2, show_spinner=False)
def all_models(event: int) -> pl.DataFrame:
    """The registry."""
    del event
    with reader().view() as conn:
        return models.models_frame(conn)


@st.cache_resource(max_entries=NUM_TICKER_CHARTS, show_spinner=False)
def ticker_charts(event: int, name: str, rows: RowKind, num_days: int, horizon: str) -> TickerCharts:
    """The charts of one ticker."""
    found = one_ticker(event, name, rows, num_days)
    forecasts = ticker.forecasts_and_actuals(found.forecasts, horizon)
    errors = ticker.errors_over_time(found.forecasts, horizon)
    return TickerCharts(
        candles=charts.candles_chart(found.bars, forecasts, horizon, found.splits),
        errors=None if errors.is_empty() else charts.errors_chart(errors),
        calibration=charts.calibration_chart(found.calibration) if found.calibration else None,
    )


@st.cache_resource(max_entries=NUM_KEPT, show_spinner=False)
def losses_chart(event: int, name: str) -> Spec | None:
    """The losses of a ticker's newest networks; None if none has any."""
    del event
    with reader().view() as conn:
        curves = models.loss_curves(conn, name)
    return None if curves.is_empty() else charts.losses_chart(curves)


@st.cache_resource(max_entries=2, ttl=OPERATIONS_SECONDS, show_spinner=False)
def chain(event: int) -> tuple[record.RecordView, record.LastVerification | None]:
    """The seals, and the last verification."""
    del event
    project = reader().project
    with reader().view() as conn:
        found = record.record_view(conn, project)
    return found, record.last_verification(project)


@st.cache_resource(max_entries=1, ttl=OPERATIONS_SECONDS, show_spinner=False)
def operation() -> tuple[operations.OperationsView, operations.DagsterView | None]:
    """The state of operation, by LDTM's tables and by Dagster's."""
    project = reader().project
    with reader().view() as conn:
        found = operations.operations_view(conn, project)
    return found, operations.dagster_view(project)


def proof_result(content: bytes) -> ProofResult:
    """Result of verifying an uploaded file."""
    with reader().view() as conn:
        return verify_upload(conn, content)
