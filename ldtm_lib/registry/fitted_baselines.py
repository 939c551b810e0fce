"""Baselines on record: the fitted parameters of each checkpoint, and the scores of each backtest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from psycopg.rows import dict_row

from ldtm_lib.baselines.fit import FittedBaselines
from ldtm_lib.baselines.scores import ModelScore
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import HORIZONS

SCORE_COLUMNS = (
    *("model", "next_day_error", "next_monday_error", "one_month_error"),
    *("num_directional", "num_correct", "num_up", "num_down"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredBaselines:
    """Fitted baselines and the checkpoint under which they are on record."""

    checkpoint_id: int
    """Differs from the checkpoint that forecasts if the latter restores it."""
    fitted: FittedBaselines


def store(conn: Connection, fitted: Mapping[int, FittedBaselines]) -> None:
    """Put the baselines of some checkpoints on record; a checkpoint that has baselines keeps them."""
    each = fitted.values()
    conn.execute(
        query("baselines.insert_fitted"),
        {
            "checkpoint_ids": list(fitted),
            "num_training_rows": [f.num_training_rows for f in each],
            "num_validation_rows": [f.num_validation_rows for f in each],
            "drift": [f.drift for f in each],
            "ar1_intercept": [f.ar1_intercept for f in each],
            "ar1_slope": [f.ar1_slope for f in each],
            "ridge_penalties": ["{" + ",".join(map(str, f.ridge_penalties)) + "}" for f in each],
            "ridge_coefficients": [f.ridge_coefficients.astype("<f8").tobytes() for f in each],
        },
    )


def read(conn: Connection, checkpoint_ids: Collection[int]) -> dict[int, StoredBaselines]:
    """The baselines of some checkpoints by checkpoint id, in one statement.

    A checkpoint that was trained before baselines were fitted has none. A version that a rollback restored has those
    of the checkpoint that it restores.
    """
    with conn.cursor(binary=True, row_factory=dict_row) as cursor:
        rows = cursor.execute(query("baselines.fitted"), {"checkpoint_ids": list(checkpoint_ids)}).fetchall()
    return {
        row["checkpoint_id"]: StoredBaselines(
            checkpoint_id=row["fitted_id"],
            fitted=FittedBaselines(
                num_training_rows=row["num_training_rows"],
                num_validation_rows=row["num_validation_rows"],
                drift=row["drift"],
                ar1_intercept=row["ar1_intercept"],
                ar1_slope=row["ar1_slope"],
                ridge_penalties=tuple(row["ridge_penalties"]),
                ridge_coefficients=np.frombuffer(row["ridge_coefficients"], "<f8").reshape(-1, len(HORIZONS)),
            ),
        )
        for row in rows
    }


def store_scores(conn: Connection, scores: Mapping[tuple[int, int], Sequence[ModelScore]]) -> None:
    """Put the scores of some folds on record, by backtest id and fold, in the transaction of their backtest."""
    listed = [(*fold, score) for fold, of_fold in scores.items() for score in of_fold]
    columns = {name: [getattr(score, name) for _, _, score in listed] for name in SCORE_COLUMNS}
    conn.execute(
        query("baselines.insert_scores"),
        {
            **columns,
            "backtest_ids": [backtest_id for backtest_id, _, _ in listed],
            "folds": [fold for _, fold, _ in listed],
            "num_rows": [score.num_next_day for _, _, score in listed],
        },
    )
