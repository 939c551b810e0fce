"""The gate's verdicts on record: one row whenever what the gate says about a ticker is new."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.types.json import Jsonb

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.gate.evidence import evidence_from
from ldtm_lib.gate.multiple_testing import JudgedBefore, Trials, standing_from
from ldtm_lib.gate.verdict import Rule, Verdict
from ldtm_lib.registry.checkpoints import CheckpointRecord
from ldtm_lib.registry.failures import MissingCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with what it is about."""

    ticker: str
    subject: CheckpointRecord | MissingCheckpoint | None
    """The candidate; or the training that left none; or None for a ticker that was never trained."""
    backtest_id: int | None
    verdict: Verdict

    @property
    def candidate(self) -> CheckpointRecord | None:
        """The candidate, if there is one."""
        return self.subject if isinstance(self.subject, CheckpointRecord) else None


def record(conn: Connection, decisions: Sequence[Decision]) -> set[str]:
    """Put verdicts on record; returns the tickers for which this is news.

    A verdict that equals the newest one of its ticker, on the same candidate and backtest, writes nothing. One in which
    the same rules pass and only figures differ, as when another ticker was judged meanwhile, is kept and is no news.
    """
    verdicts = [decision.verdict for decision in decisions]
    columns = {
        "tickers": [d.ticker for d in decisions],
        "trained_on": [d.subject and d.subject.trained_on for d in decisions],
        "checkpoint_ids": [d.candidate and d.candidate.checkpoint_id for d in decisions],
        "backtest_ids": [d.backtest_id for d in decisions],
        "passed": [verdict.passed for verdict in verdicts],
        "rules": [Jsonb([dataclasses.asdict(rule) for rule in verdict.rules]) for verdict in verdicts],
        "evidence": [verdict.evidence and Jsonb(verdict.evidence.as_dict()) for verdict in verdicts],
        "standings": [verdict.standing and Jsonb(verdict.standing.as_dict()) for verdict in verdicts],
    }
    return {ticker for (ticker,) in conn.execute(query("registry.insert_verdicts"), columns)}


def of_checkpoints(conn: Connection, checkpoint_ids: Collection[int]) -> dict[int, Verdict]:
    """The newest verdict on each of some checkpoints."""
    parameters = {"checkpoint_ids": list(checkpoint_ids)}
    rows = conn.execute(query("registry.verdicts_of_checkpoints"), parameters)
    return {checkpoint_id: verdict_of(*columns) for checkpoint_id, *columns in rows}


def trials(conn: Connection, judged: Sequence[Decision], *, neutral_band: float) -> dict[str, Trials]:
    """How often the tickers of some candidates were trained until then, and with how many settings they were tried.

    `neutral_band` is the one that they are judged by now.
    """
    columns = _evenings_of(judged) | {
        "backtest_ids": [decision.backtest_id for decision in judged],
        "neutral_band": neutral_band,
    }
    rows = conn.execute(query("registry.trials"), columns)
    return {ticker: Trials(num_trainings=trained, num_settings=settings) for ticker, trained, settings in rows}


def others_of_evenings(conn: Connection, judged: Sequence[Decision]) -> dict[date, dict[str, JudgedBefore | None]]:
    """What was judged before of further tickers on the evenings of some candidates, by session and ticker.

    An evening is the session that a candidate was trained on.
    """
    columns = _evenings_of(judged)
    found: dict[date, dict[str, JudgedBefore | None]] = {
        decision.candidate.trained_on: {} for decision in judged if decision.candidate
    }
    columns |= {"evenings": sorted(found)}
    for evening, ticker, p_value, coin_passes in conn.execute(query("registry.other_verdicts"), columns):
        found[evening][ticker] = JudgedBefore(p_value=p_value, coin_passes=coin_passes)
    return found


def _evenings_of(judged: Sequence[Decision]) -> dict[str, object]:
    return {
        "tickers": [decision.ticker for decision in judged],
        "trained_on": [decision.candidate and decision.candidate.trained_on for decision in judged],
    }


def verdict_of(
    rules: Sequence[Mapping[str, object]],
    evidence: Mapping[str, object] | None = None,
    standing: Mapping[str, object] | None = None,
) -> Verdict:
    """The verdict whose parts a row holds as JSON."""
    return Verdict(
        rules=tuple(Rule(**rule) for rule in rules),  # pyright: ignore[reportArgumentType]
        evidence=None if evidence is None else evidence_from(evidence),
        standing=None if standing is None else standing_from(standing),
    )
