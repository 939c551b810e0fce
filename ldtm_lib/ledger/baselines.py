"""Baseline forecasts, stored next to the record, and the comparison of the network with them on the same rows.

A baseline forecast is not an event of the chain and has no rank. It is written with its snapshot or not at all, from
the same window, so it has the same information as the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import dict_row

from ldtm_lib.baselines.forecast import BASELINES, Baseline, BaselineRows, forecast_baselines
from ldtm_lib.baselines.scores import MODELS, Comparison, ModelScore
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.features.scaling import Float64s
from ldtm_lib.features.stored_windows import StoredWindow
from ldtm_lib.ledger.drafts import Draft, direction
from ldtm_lib.ledger.simulations import LIVE, RowKind
from ldtm_lib.registry.fitted_baselines import StoredBaselines, read
from ldtm_lib.sessions import HORIZONS, Calendar
from ldtm_lib.wording import named


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBaselines:
    """The baseline forecasts that were written with the rows of one run date."""

    num_rows: int
    """Rows that have a forecast of every baseline."""
    notes: tuple[str, ...]
    """Reasons why rows have none."""


NO_BASELINES = TakenBaselines(num_rows=0, notes=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonBoard:
    """The network compared with its baselines, for the universe and for every ticker."""

    universe: Comparison | None
    """None if no row has a forecast of every baseline."""
    tickers: tuple[Comparison, ...]
    """By name; a ticker without such a row is left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Row:
    """A row that was written just now, with all that its baselines need."""

    draft: Draft
    stored: StoredBaselines
    window: StoredWindow


def take_baselines(
    conn: Connection,
    drafts: Sequence[Draft],
    windows: Mapping[str, StoredWindow],
    *,
    calendar: Calendar,
    simulation_id: int,
) -> TakenBaselines:
    """Forecast and record the baselines of rows of one run date that this transaction has written.

    Abstentions are left out. Takes two statements, whatever the number of tickers. A failure leaves a note and never
    prevents the rows of that day. When the connection is lost, which loses the rows as well, psycopg's error is raised.
    """
    asked = [draft for draft in drafts if draft.abstained_reason is None and draft.checkpoint_id is not None]
    if not asked:
        return NO_BASELINES
    try:
        with conn.transaction():
            stored = read(conn, [draft.checkpoint_id for draft in asked if draft.checkpoint_id is not None])
            rows, notes = _usable(asked, stored, windows)
            columns = _columns(rows, calendar, notes)
            num_rows = len(columns["ticker"]) // len(BASELINES)
            if num_rows:
                parameters = {**columns, "run_date": asked[0].run_date, "simulation_id": simulation_id}
                conn.execute(query("baselines.record_forecasts"), parameters)
    except psycopg.Error as error:
        if conn.closed:
            raise
        note = f"the database refuses the baselines of {asked[0].run_date}: {error}"
        return TakenBaselines(num_rows=0, notes=(note,))
    return TakenBaselines(num_rows=num_rows, notes=tuple(notes))


def comparisons(conn: Connection, rows: RowKind = LIVE) -> ComparisonBoard:
    """The comparison on those rows that the leaderboard counts and that have baselines, in one statement."""
    asked = {**rows.parameters, "baselines": list(BASELINES)}
    return _board(conn, query("baselines.scores_of_forecasts"), asked)


def backtest_comparisons(conn: Connection) -> ComparisonBoard:
    """The comparison on the test rows of each ticker's newest backtest that was scored, in one statement."""
    return _board(conn, query("baselines.scores_of_backtests"), {})


def _usable(
    drafts: Sequence[Draft], stored: Mapping[int, StoredBaselines], windows: Mapping[str, StoredWindow]
) -> tuple[list[_Row], list[str]]:
    """The rows whose network has baselines for windows of this size, and the reasons why others have none."""
    rows: list[_Row] = []
    notes: list[str] = []
    unfitted: list[str] = []
    for draft in drafts:
        assert draft.checkpoint_id is not None
        found, window = stored.get(draft.checkpoint_id), windows[draft.ticker]
        assert window.window.inputs is not None
        if found is None:
            unfitted.append(draft.ticker)
        elif len(found.fitted.ridge_coefficients) != window.window.inputs.size + 1:
            notes.append(
                f"{draft.ticker} has no baselines: they were fitted on windows of another size; "
                f"train {draft.ticker} again"
            )
        else:
            rows.append(_Row(draft=draft, stored=found, window=window))
    if unfitted:
        notes.append(
            f"{named(unfitted, 3)}: no baselines, since the network was trained before LDTM fitted them; "
            "the next training fits them"
        )
    return rows, notes


def _columns(rows: Sequence[_Row], calendar: Calendar, notes: list[str]) -> dict[str, list[object]]:
    """The forecasts as columns, neutral within the band of their row; notes those that are not finite."""
    columns: dict[str, list[object]] = {
        name: [] for name in ("ticker", "baseline", "checkpoint_id", *(f"{h}_pred" for h in HORIZONS), "direction_pred")
    }
    if not rows:
        return columns
    prices = forecast_baselines([row.stored.fitted for row in rows], _inputs(rows, calendar))
    for place, row in enumerate(rows):
        of_row: dict[Baseline, Float64s] = {baseline: prices[baseline][place] for baseline in BASELINES}
        if bad := [name for name, pred in of_row.items() if not np.isfinite(pred).all()]:
            notes.append(f"{row.draft.ticker} has no baselines: the forecast of {bad[0]} is not finite")
            continue
        assert row.draft.run_date_close is not None
        assert row.draft.neutral_band is not None
        for baseline, pred in of_row.items():
            values = pred.tolist()
            columns["ticker"].append(row.draft.ticker)
            columns["baseline"].append(baseline)
            columns["checkpoint_id"].append(row.stored.checkpoint_id)
            columns["direction_pred"].append(direction(values[0], row.draft.run_date_close, row.draft.neutral_band))
            for horizon, value in zip(HORIZONS, values, strict=True):
                columns[f"{horizon}_pred"].append(value)
    return columns


def _inputs(rows: Sequence[_Row], calendar: Calendar) -> BaselineRows:
    """The stored windows of some rows of one run date as arrays."""
    draft = rows[0].draft
    targets = [draft.next_day_session, draft.next_monday_session, draft.one_month_session]
    num_sessions = calendar.num_sessions(
        np.array([draft.run_date], dtype="datetime64[D]"), np.array([targets], dtype="datetime64[D]")
    )
    windows = [row.window.window for row in rows]
    return BaselineRows(
        inputs_NTI=np.stack([window.inputs for window in windows if window.inputs is not None]),
        close_N=np.array([window.close for window in windows], dtype=np.float64),
        close_min_N=np.array([window.close_min for window in windows], dtype=np.float64),
        close_max_N=np.array([window.close_max for window in windows], dtype=np.float64),
        num_sessions_NH=np.repeat(num_sessions, len(rows), axis=0),
    )


def _board(conn: Connection, statement: bytes, parameters: Mapping[str, object]) -> ComparisonBoard:
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(statement, parameters).fetchall()
    by_ticker: dict[str | None, dict[str, dict[str, Any]]] = {}
    for row in found:
        by_ticker.setdefault(row["ticker"], {})[row["model"]] = row
    compared = {ticker: _comparison(ticker, models) for ticker, models in by_ticker.items()}
    universe = compared.pop(None, None)
    return ComparisonBoard(universe=universe, tickers=tuple(compared.values()))


def _comparison(ticker: str | None, models: Mapping[str, Mapping[str, Any]]) -> Comparison:
    network, *baselines = (
        ModelScore(**{field.name: models[model][field.name] for field in fields(ModelScore)}) for model in MODELS
    )
    return Comparison(
        ticker=ticker,
        first_session=models["network"]["first_session"],
        last_session=models["network"]["last_session"],
        network=network,
        baselines=tuple(baselines),
    )
