"""The registry: active models, candidates, verdicts of the gate, and losses of trainings."""

from collections.abc import Sequence

import polars as pl

from ldtm_dashboard.frames.tables import read_frame
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.registry.listing import RegistryEntry, list_registry

NUM_CURVES = 4
"""Newest networks of a ticker whose losses are shown."""

MODELS = pl.Schema(
    {
        "ticker": pl.String,
        "gate": pl.String,
        "active": pl.String,
        "trained_on": pl.Date,
        "candidate_trained_on": pl.Date,
        "num_retired": pl.Int64,
        "accuracy": pl.Float64,
        "accuracy_low": pl.Float64,
        "accuracy_high": pl.Float64,
        "num_directional": pl.Int64,
        "coin_passes": pl.Float64,
        "next_day_ratio": pl.Float64,
        "next_monday_ratio": pl.Float64,
        "one_month_ratio": pl.Float64,
        "judged": pl.Date,
        "reasons": pl.String,
    }
)
CURVES = pl.Schema(
    {
        "checkpoint_id": pl.Int64,
        "status": pl.String,
        "version": pl.String,
        "trained_on": pl.Date,
        "best_epoch": pl.Int64,
        "training": pl.List(pl.Float64),
        "validation": pl.List(pl.Float64),
        "no_change": pl.Float64,
    }
)


def models_frame(conn: Connection) -> pl.DataFrame:
    """Every ticker that was ever trained or judged, with the newest verdict on it: the columns of MODELS.

    Figures are those of the backtest; ratios are errors divided by that of forecasting no change. `coin_passes` is the
    chance that a coin with as many calls meets the rule of direction accuracy.
    """
    return pl.DataFrame([_values(entry) for entry in list_registry(conn)], schema=MODELS, orient="row")


def loss_curves(conn: Connection, ticker: str) -> pl.DataFrame:
    """The losses of the newest networks of a ticker, one row an epoch: network, epoch, training, validation, no_change.

    Losses are in units of the training's objective; `no_change` is the validation loss of forecasting no change.
    """
    asked = {"ticker": ticker, "num_rows": NUM_CURVES}
    found = read_frame(conn, query("dashboard.loss_curves"), asked, CURVES)
    named = found.with_columns(
        pl.format("{} of {}", pl.coalesce("version", "status"), "trained_on").alias("network"),
        pl.int_ranges(1, pl.col("validation").list.len() + 1).alias("epoch"),
    ).filter(pl.col("validation").list.len() > 0)
    return named.select("network", "epoch", "training", "validation", "no_change").explode(
        "epoch", "training", "validation", empty_as_null=False
    )


def _values(entry: RegistryEntry) -> tuple[object, ...]:
    verdict = entry.verdict
    evidence = verdict.evidence if verdict is not None else None
    ratios: Sequence[float | None] = [
        shown.relative_error if evidence is not None and (shown := evidence.of_horizon(horizon)) is not None else None
        for horizon in ("next_day", "next_monday", "one_month")
    ]
    reasons = [] if verdict is None else [rule.reason for rule in verdict.failures]
    if entry.out_of_service is not None:
        reasons.append(entry.out_of_service.sentence)
    gate = "never judged" if verdict is None else "✓ passed" if verdict.passed else "✗ refused"
    return (
        *(entry.ticker, gate, entry.active_version, entry.active_trained_on),
        *(entry.candidate_trained_on, entry.num_retired),
        *(
            (None, None, None)
            if evidence is None
            else (evidence.accuracy, evidence.accuracy_low, evidence.accuracy_high)
        ),
        *((None, None) if evidence is None else (evidence.num_directional, evidence.coin_passes)),
        *ratios,
        None if entry.decided_at is None else entry.decided_at.date(),
        "; ".join(reasons),
    )
