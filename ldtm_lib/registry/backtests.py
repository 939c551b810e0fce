"""Backtests on record: every fold with every forecast it made, so that a verdict can be checked years later."""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from ldtm_lib.backtest.walk_forward import NO_LEAKS, FoldReport
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.features.look_ahead import WindowLeaks
from ldtm_lib.registry.inputs import InputKey, key_columns
from ldtm_lib.registry.trained_network import TrainedNetwork, network_columns, network_of_row
from ldtm_lib.sessions import HORIZONS
from ldtm_lib.settings import BacktestConfig, fingerprint

PREDICTION_SCHEMA = {
    "backtest_id": pl.Int64,
    "fold": pl.Int32,
    "session": pl.Date,
    "close": pl.Float64,
    **{f"{horizon}_pred": pl.Float64 for horizon in HORIZONS},
    **{f"{horizon}_actual": pl.Float64 for horizon in HORIZONS},
    "volatility": pl.Float64,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backtest:
    """All folds of one ticker's walk-forward; none if its history is too short for one."""

    backtest_id: int
    reports: tuple[FoldReport, ...]
    """Oldest first."""
    num_sampled_windows: int | None = None
    """Number of its windows that were searched for look-ahead; None if they were not searched."""
    window_leaks: Mapping[str, int] | None = None
    """Number of the sampled windows with look-ahead, by kind; None if they were not searched."""


SAMPLED = "sampled"
"""Key of the number of sampled windows in backtest.window_leaks; the other keys are kinds of leaks."""


def store(
    conn: Connection,
    backtests: Mapping[InputKey, Sequence[FoldReport]],
    *,
    plan: BacktestConfig,
    networks: Mapping[InputKey, Sequence[TrainedNetwork]] | None = None,
    window_leaks: Mapping[str, WindowLeaks] | None = None,
) -> dict[InputKey, int]:
    """Put backtests on record, each under its training inputs and its division into folds.

    `networks` has the training records of the folds' networks; a fold may lack one. `window_leaks` has the look-ahead
    of the sampled windows by ticker. A backtest that is on record already stays as it is; the ids of the others are
    returned.
    """
    searched = window_leaks or {}
    rows = key_columns(backtests) | {
        "plans": [fingerprint(plan)] * len(backtests),
        "window_leaks": [_window_leaks_column(searched.get(key.ticker)) for key in backtests],
    }
    ids = _ids(conn, query("backtest.insert_backtests"), rows)
    new = [(ids[key], report) for key, reports in backtests.items() if key in ids for report in reports]
    if not new:
        return ids
    trained = {(ids[key], n.fold): n for key, of_key in (networks or {}).items() if key in ids for n in of_key}
    folds = {
        "backtest_ids": [backtest_id for backtest_id, _ in new],
        "folds": [report.fold for _, report in new],
        "train_cutoffs": [report.train_cutoff for _, report in new],
        "first_test_sessions": [report.sessions[0].item() for _, report in new],
        "last_test_sessions": [report.sessions[-1].item() for _, report in new],
        "num_leakage_rows": [report.num_leakage_rows for _, report in new],
        "num_training_rows": [report.num_training_rows for _, report in new],
        "num_validation_rows": [report.num_validation_rows for _, report in new],
        "num_epochs": [report.num_epochs for _, report in new],
        "validation_loss": [report.validation_loss for _, report in new],
        "leaks": [Jsonb(dict(report.leaks)) for _, report in new],
    }
    folds |= network_columns([trained.get((backtest_id, report.fold)) for backtest_id, report in new])
    conn.execute(query("backtest.insert_folds"), folds)
    predictions = pl.concat([_predictions(backtest_id, report) for backtest_id, report in new])
    with conn.cursor() as cursor, cursor.copy(query("backtest.copy_predictions_in")) as copy:
        copy.write(predictions.write_csv(include_header=False).encode())
    return ids


def existing(conn: Connection, keys: Collection[InputKey], *, plan: BacktestConfig) -> dict[InputKey, int]:
    """The ids of the backtests on record for some keys with this division into folds."""
    return _ids(conn, query("backtest.backtests_of_inputs"), key_columns(keys) | {"plan": fingerprint(plan)})


def networks(conn: Connection, backtest_ids: Collection[int]) -> dict[int, list[TrainedNetwork]]:
    """Records of the training of the networks of some backtests' folds, by backtest id, oldest fold first."""
    found: dict[int, list[TrainedNetwork]] = {backtest_id: [] for backtest_id in backtest_ids}
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("backtest.networks_of_backtests"), {"backtest_ids": list(found)})
        for row in rows:
            found[row.pop("backtest_id")].append(network_of_row(row))
    return found


def read(conn: Connection, keys: Collection[InputKey], *, plan: BacktestConfig) -> dict[InputKey, Backtest]:
    """The backtests on record for some keys, with all of their forecasts, bit for bit as stored."""
    ids = existing(conn, keys, plan=plan)
    found = read_by_id(conn, list(ids.values()))
    return {key: found[backtest_id] for key, backtest_id in ids.items()}


def read_by_id(conn: Connection, backtest_ids: Sequence[int]) -> dict[int, Backtest]:
    """The backtests with some ids, all of them on record, as `read` returns them."""
    parameters = {"backtest_ids": list(backtest_ids)}
    content = bytearray()
    with conn.cursor() as cursor:
        with cursor.copy(query("backtest.copy_predictions_out"), parameters) as copy:
            for chunk in copy:
                content += chunk
        folds = cursor.execute(query("backtest.folds_of_backtests"), parameters).fetchall()
        searched: dict[int, dict[str, int]] = dict(
            cursor.execute(query("backtest.window_leaks_of_backtests"), parameters).fetchall()
        )
    predictions = pl.read_csv(io.BytesIO(content), schema=PREDICTION_SCHEMA)
    by_fold = predictions.partition_by("backtest_id", "fold", as_dict=True)
    reports: dict[int, list[FoldReport]] = {backtest_id: [] for backtest_id in backtest_ids}
    for backtest_id, fold, train_cutoff, num_training, num_validation, num_epochs, validation_loss, leaks in folds:
        rows = by_fold[(backtest_id, fold)]
        report = FoldReport(
            fold=fold,
            train_cutoff=train_cutoff,
            num_training_rows=num_training,
            num_validation_rows=num_validation,
            num_epochs=num_epochs,
            validation_loss=validation_loss,
            sessions=rows["session"].to_numpy().astype("datetime64[D]"),
            close=rows["close"].to_numpy(),
            volatility=rows["volatility"].fill_null(np.nan).to_numpy(),
            predictions=rows.select(f"{horizon}_pred" for horizon in HORIZONS).to_numpy(),
            actuals=rows.select(f"{horizon}_actual" for horizon in HORIZONS).to_numpy(),
            leaks=NO_LEAKS if leaks is None else leaks,
        )
        reports[backtest_id].append(report)
    return {i: _backtest(i, reports[i], searched.get(i)) for i in backtest_ids}


def _backtest(backtest_id: int, reports: Sequence[FoldReport], searched: Mapping[str, int] | None) -> Backtest:
    leaks = None if searched is None else {kind: num for kind, num in searched.items() if kind != SAMPLED}
    return Backtest(
        backtest_id=backtest_id,
        reports=tuple(reports),
        num_sampled_windows=None if searched is None else searched[SAMPLED],
        window_leaks=leaks,
    )


def _window_leaks_column(found: WindowLeaks | None) -> Jsonb | None:
    return None if found is None else Jsonb({SAMPLED: found.num_sampled, **found.leaks})


def _predictions(backtest_id: int, report: FoldReport) -> pl.DataFrame:
    columns = {
        "backtest_id": np.full(len(report.sessions), backtest_id),
        "fold": np.full(len(report.sessions), report.fold),
        "session": report.sessions,
        "close": report.close,
        **{f"{horizon}_pred": report.predictions[:, at] for at, horizon in enumerate(HORIZONS)},
        **{f"{horizon}_actual": report.actuals[:, at] for at, horizon in enumerate(HORIZONS)},
        "volatility": report.volatility,
    }
    return pl.DataFrame(columns, schema=PREDICTION_SCHEMA).with_columns(pl.col("volatility").fill_nan(None))


def _ids(conn: Connection, statement: bytes, parameters: Mapping[str, object]) -> dict[InputKey, int]:
    """Ids by key, from a statement that returns both."""
    rows = conn.execute(statement, parameters).fetchall()
    return {
        InputKey(ticker=ticker, trained_on=on, architecture_sha256=a, recipe_sha256=r, data_sha256=d): cast(int, i)
        for i, ticker, on, a, r, d in rows
    }
