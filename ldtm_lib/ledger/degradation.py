"""Degradation: a test of the live record of an active model, for evidence that it fell below the gate.

A model is monitored after every session, so its record is tested sequentially (`statistics.sequential`): directions
against the share that the gate requires, and next-day price errors against the gate's bound. Each test has half of the
significance. The strongest evidence since the model became active counts: a model that is found degraded stays
degraded, whatever its later results are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from psycopg.rows import class_row

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.settings import GateConfig
from ldtm_lib.statistics.sequential import EValue, Values, excess, shortfall

NUM_TESTS = 2
LARGEST_E = 1e300
"""Value that is shown for evidence that is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """The filled live forecasts of one active model, and their meaning.

    Shares are between 0 and 1, errors are in percent.
    """

    ticker: str
    version: str
    checkpoint_id: int
    first_run_date: date | None
    last_run_date: date | None
    num_filled: int
    num_directional: int
    num_correct: int
    accuracy: float | None
    """Accuracy of the directions; None without one."""
    accuracy_low: float | None
    """Lower end of its 95% Wilson interval, which holds for a single test and not for one per session."""
    accuracy_high: float | None
    next_day_error: float | None
    """Mean absolute error."""
    direction_evidence: float
    """The largest e-value since activation against the gate's share of right directions; 1 is no evidence."""
    error_evidence: float
    """The same against the gate's price error."""
    evidence_needed: float
    """Threshold: either of the two e-values at or above it shows that the model is degraded."""
    is_degraded: bool
    reason: str
    """The record in words for a person, whether it is degraded or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcomes:
    """Outcomes of an active model's live forecasts, in the order of their run dates."""

    ticker: str
    version: str
    checkpoint_id: int
    run_dates: list[date]
    errors: list[float]
    called_on: list[date]
    """Run dates of the forecasts that named a direction."""
    is_right: list[bool]
    accuracy_low: float | None
    accuracy_high: float | None


def degraded_models(conn: Connection, gate: GateConfig, *, significance: float) -> list[ModelRecord]:
    """The record of every active model, by ticker; `is_degraded` marks those that fell below the gate.

    `significance` is the chance that a model which keeps both bounds of the gate is ever found degraded, however long
    and however often it is tested. Only live rows that the checkpoint itself forecast count: late and simulated ones do
    not, and a restored version is a new checkpoint with an empty record. Actuals count in the order of run dates, also
    those that arrive late.
    """
    with conn.cursor(row_factory=class_row(_Outcomes)) as cursor:
        found = cursor.execute(query("ledger.live_records_of_active")).fetchall()
    return [_judged(outcomes, gate, NUM_TESTS / significance) for outcomes in found]


def _judged(outcomes: _Outcomes, gate: GateConfig, evidence_needed: float) -> ModelRecord:
    errors = np.array(outcomes.errors, np.float64)
    num_directional, num_correct = len(outcomes.is_right), sum(outcomes.is_right)
    of_directions = shortfall(np.array(outcomes.is_right, np.bool_), gate.min_direction_accuracy)
    of_errors = excess(errors, 100 * gate.max_price_error)
    is_degraded = max(of_directions.log_e, of_errors.log_e) >= math.log(evidence_needed)
    return ModelRecord(
        ticker=outcomes.ticker,
        version=outcomes.version,
        checkpoint_id=outcomes.checkpoint_id,
        first_run_date=outcomes.run_dates[0] if outcomes.run_dates else None,
        last_run_date=outcomes.run_dates[-1] if outcomes.run_dates else None,
        num_filled=len(errors),
        num_directional=num_directional,
        num_correct=num_correct,
        accuracy=num_correct / num_directional if num_directional else None,
        accuracy_low=outcomes.accuracy_low,
        accuracy_high=outcomes.accuracy_high,
        next_day_error=float(errors.mean()) if len(errors) else None,
        direction_evidence=_e_value(of_directions),
        error_evidence=_e_value(of_errors),
        evidence_needed=evidence_needed,
        is_degraded=is_degraded,
        reason=_reason(outcomes, errors, gate, of_directions, of_errors, is_degraded=is_degraded),
    )


def _e_value(evidence: EValue) -> float:
    return math.exp(min(evidence.log_e, math.log(LARGEST_E)))


def _reason(
    outcomes: _Outcomes,
    errors: Values,
    gate: GateConfig,
    of_directions: EValue,
    of_errors: EValue,
    *,
    is_degraded: bool,
) -> str:
    """The stronger of the two kinds of evidence; for a degraded model first the record when it was strongest."""
    model = f"{outcomes.ticker} {outcomes.version}"
    if not outcomes.run_dates:
        return f"{model} has no live forecast with an actual yet"
    if of_errors.log_e > of_directions.log_e:
        number = of_errors.num_outcomes if is_degraded else len(errors)
        meaning = _meaning(of_errors, f"the gate's bound of {100 * gate.max_price_error:.4g}%", "be as far off")
        return f"{model} missed the next day's price by {_errors(outcomes.run_dates, errors, number)}; {meaning}"
    if not outcomes.is_right:
        return f"{model} named no direction in {len(errors)} live forecasts since {outcomes.run_dates[0]}"
    number = of_directions.num_outcomes if is_degraded else len(outcomes.is_right)
    meaning = _meaning(of_directions, f"the gate's {100 * gate.min_direction_accuracy:.4g}%", "do as badly")
    return f"{model} was right in {_calls(outcomes.called_on, outcomes.is_right, number)}; {meaning}"


def _calls(called_on: Sequence[date], is_right: Sequence[bool], number: int) -> str:
    """The record of the first calls, and of all of them if there are more."""

    def described(number: int, until: str) -> str:
        right = sum(is_right[:number])
        return f"{right} of {number} calls {until}, {right / number:.1%}"

    now = described(len(is_right), f"since {called_on[0]}")
    if number == len(is_right):
        return now
    return f"{described(number, f'from {called_on[0]} to {called_on[number - 1]}')}, and by now in {now}"


def _errors(run_dates: Sequence[date], errors: Values, number: int) -> str:
    def described(number: int, until: str) -> str:
        return f"{errors[:number].mean():.2f}% on average over {number} forecasts {until}"

    now = described(len(errors), f"since {run_dates[0]}")
    if number == len(errors):
        return now
    return f"{described(number, f'from {run_dates[0]} to {run_dates[number - 1]}')}, and by now by {now}"


def _meaning(evidence: EValue, bound: str, how: str) -> str:
    """Meaning of the strongest evidence so far, whenever it was found."""
    if evidence.num_outcomes == 0:
        return f"there is no evidence against {bound}"
    return f"a model that meets {bound} would {how} at any time with probability below {_percent(evidence.p_value)}"


def _percent(share: float) -> str:
    """Rounded up to two digits, so that the probability is below the stated one."""
    if share < 1e-4:
        return "0.01%"
    digits = 1 - math.floor(math.log10(100 * share))
    return f"{math.ceil(100 * share * 10**digits) / 10**digits:g}%"
