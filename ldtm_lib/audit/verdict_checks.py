"""Checks of the gate's verdicts: against their events, and computed again from the stored forecasts of their backtests.

A verdict names the configuration with the bounds that it was judged by. The other tickers' trials and the active model,
with which it was compared at that moment, are taken as recorded in the verdict.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from math import isclose
from typing import Any, cast

import polars as pl

from ldtm_lib.audit import events
from ldtm_lib.audit.configurations import Configuration
from ldtm_lib.audit.encoding import encode, leaf_sha256
from ldtm_lib.audit.live_forecasts import microseconds
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.gate.rules import judge
from ldtm_lib.gate.strict import strict_rules
from ldtm_lib.gate.verdict import Rule, Verdict, verdict_of
from ldtm_lib.registry import backtests
from ldtm_lib.registry.configurations import judged_by
from ldtm_lib.settings import ForecastConfig, GateConfig

AT_ONCE = 200
"""Number of backtests whose forecasts are in memory at the same time."""
SAME_FIGURE = 1e-9
"""Relative and absolute tolerance: sums in another order, as on another processor, differ in the last bits."""
SCHEMA = {
    "event_id": pl.Int64,
    "version": pl.Int64,
    "of_ticker": pl.String,
    "of_simulation": pl.Int64,
    "is_there": pl.Boolean,
    "is_right": pl.Boolean,
    "decided_at": pl.Int64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """The parts of a verdict on record that are computed again."""

    verdict_id: int
    checkpoint_id: int | None
    backtest_id: int | None
    configuration_id: int | None
    passed: bool
    rules: str
    evidence: str | None
    multiple_testing: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedVerdicts:
    """Verdicts on record, and the number of them that were computed again."""

    rows: pl.DataFrame
    """One row per verdict: its place in the chain, `is_right` about its leaf, and `is_wrong` about its figures."""
    num_computed: int
    num_not_computed: int
    """Verdicts whose bounds are not on record, or are those of another version of LDTM."""


def checked_verdicts(conn: Connection, in_force: Sequence[Configuration]) -> CheckedVerdicts:
    """Check the first verdict that has an event, and every later verdict."""
    fields = events.fields_of("verdict", 1)
    names = [field.name for field in fields[2:]]
    places: list[dict[str, object]] = []
    rows: dict[int, VerdictRow] = {}
    for leaf, version, event_id, of_ticker, number, *values in conn.execute(query("audit.verdicts")):
        found: dict[str, Any] = dict(zip(names, values, strict=True))
        is_there = found["ticker"] is not None
        is_whole = is_there and event_id is not None
        places.append(
            {
                "event_id": event_id,
                "version": version,
                "of_ticker": of_ticker,
                "of_simulation": number,
                "is_there": is_there,
                "is_right": is_whole and leaf_sha256(encode(fields, (event_id, "verdict", *values))) == leaf,
                "decided_at": microseconds(found["decided_at"]) if is_there else None,
            }
        )
        if is_there:
            rows[number] = VerdictRow(**{name: found[name] for name in VerdictRow.__slots__})
    read = {each.configuration_id: judged_by(each.settings) for each in in_force}
    bounds = {number: found for number, found in read.items() if found is not None}
    tested = [row for row in rows.values() if row.backtest_id is not None]
    computable = [row for row in tested if row.configuration_id in bounds]
    wrong = {
        number for number, row in rows.items() if row.passed != ((stored := _stored(row)) is not None and stored.passed)
    }
    wrong |= _wrong_figures(conn, computable, bounds)
    frame = pl.DataFrame(places, schema=SCHEMA)
    return CheckedVerdicts(
        rows=frame.with_columns(
            is_wrong=pl.col("of_simulation").is_in(list(wrong)),
            of_run_date=pl.lit(None, dtype=pl.Date),
            of_horizon=pl.lit(None, dtype=pl.String),
        ),
        num_computed=len(computable),
        num_not_computed=len(tested) - len(computable),
    )


def _stored(row: VerdictRow) -> Verdict | None:
    """A verdict as it is on record; None if it cannot be read, which means that it was altered."""
    try:
        return verdict_of(
            json.loads(row.rules),
            None if row.evidence is None else json.loads(row.evidence),
            None if row.multiple_testing is None else json.loads(row.multiple_testing),
        )
    except (TypeError, KeyError, AttributeError):
        return None


def _wrong_figures(
    conn: Connection, rows: Sequence[VerdictRow], bounds: Mapping[int, tuple[GateConfig, ForecastConfig]]
) -> set[int]:
    """The numbers of verdicts that do not follow from their backtest's forecasts and their bounds."""
    wrong: set[int] = set()
    by_backtest: dict[int, list[VerdictRow]] = {}
    for row in rows:
        by_backtest.setdefault(row.backtest_id or 0, []).append(row)
    all_ids = sorted(by_backtest)
    for start in range(0, len(all_ids), AT_ONCE):
        ids = all_ids[start : start + AT_ONCE]
        tested = backtests.read_by_id(conn, ids)
        checkpoints = {"checkpoint_ids": [row.checkpoint_id for i in ids for row in by_backtest[i]]}
        rows_with_leaks = conn.execute(query("audit.leaks_of_checkpoints"), checkpoints).fetchall()
        leaks: dict[int | None, dict[str, int]] = dict(rows_with_leaks)
        for backtest in tested.values():
            judged: dict[tuple[int | None, int | None], Verdict] = {}
            for row in by_backtest[backtest.backtest_id]:
                gate, forecast = bounds[row.configuration_id or 0]
                key = (row.configuration_id, row.checkpoint_id)
                if key not in judged:
                    other = Counter(backtest.window_leaks or {}) + Counter(leaks.get(row.checkpoint_id, {}))
                    judged[key] = judge(backtest.reports, gate, forecast, other_leaks=other)
                if not _is_given_by(row, judged[key], gate):
                    wrong.add(row.verdict_id)
    return wrong


def _is_given_by(row: VerdictRow, verdict: Verdict, gate: GateConfig) -> bool:
    """True if a stored verdict has the rules and the evidence that were computed again."""
    stored = _stored(row)
    if stored is None:
        return False
    rules = list(verdict.rules)
    if row.evidence is not None:
        computed = None if verdict.evidence is None else json.loads(json.dumps(verdict.evidence.as_dict()))
        if not _is_alike(json.loads(row.evidence), computed):
            return False
        if gate.strict and stored.multiple_testing is not None:
            rules += strict_rules(stored.evidence, stored.multiple_testing, gate)
    by_name = {rule.rule: _without_reason(rule) for rule in stored.rules}
    return all(_is_alike(by_name.get(rule.rule), _without_reason(rule)) for rule in rules)


def _without_reason(rule: Rule) -> dict[str, object]:
    """A rule without its sentence, which only puts the other fields into words."""
    return asdict(replace(rule, reason=""))


def _is_alike(stored: Any, computed: Any) -> bool:
    """True if two values of JSON are the same, numbers up to their last bits.

    Fields that one of them lacks do not count: another version of LDTM has other statistics.
    """
    if isinstance(stored, bool) or isinstance(computed, bool):
        return stored is computed
    if isinstance(stored, int | float) and isinstance(computed, int | float):
        return isclose(stored, computed, rel_tol=SAME_FIGURE, abs_tol=SAME_FIGURE)
    if isinstance(stored, dict) and isinstance(computed, dict):
        one, other = cast(dict[str, Any], stored), cast(dict[str, Any], computed)
        return all(_is_alike(one[name], other[name]) for name in one if name in other)
    if isinstance(stored, list) and isinstance(computed, list):
        pairs = zip_longest(cast(list[Any], stored), cast(list[Any], computed))
        return all(_is_alike(*pair) for pair in pairs)
    return stored == computed
