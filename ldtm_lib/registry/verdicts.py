"""The gate's verdicts on record: one row whenever what the gate says about a ticker is new."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.types.json import Jsonb

from ldtm_lib.backtest.evidence import evidence_from
from ldtm_lib.backtest.standing import JudgedBefore, Trials, standing_from
from ldtm_lib.backtest.verdict import Rule, Verdict
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.statements import statement
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

    A verdict that equals the newest one of its ticker, on the same candidate and backtest, writes nothing. One that
    differs only in its figures, as when another ticker was judged meanwhile, is kept and is no news.
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
    return {ticker for (ticker,) in conn.execute(statement("registry/insert_verdicts"), columns)}


def of_checkpoints(conn: Connection, checkpoint_ids: Collection[int]) -> dict[int, Verdict]:
    """The newest verdict on each of some checkpoints."""
    parameters = {"checkpoint_ids": list(checkpoint_ids)}
    rows = conn.execute(statement("registry/verdicts_of_checkpoints"), parameters)
    return {checkpoint_id: verdict_of(*columns) for checkpoint_id, *columns in rows}


def trials(conn: Connection, subjects: Collection[CheckpointRecord]) -> dict[str, Trials]:
    """How often the ticker of each checkpoint was trained until then, and with how many settings."""
    rows = conn.execute(
        statement("registry/trials"),
        {"tickers": [s.ticker for s in subjects], "trained_on": [s.trained_on for s in subjects]},
    )
    return {ticker: Trials(num_trainings=trained, num_settings=settings) for ticker, trained, settings in rows}


def others_of_evenings(
    conn: Connection, evenings: Collection[date], tickers: Collection[str]
) -> dict[date, dict[str, JudgedBefore]]:
    """What was judged before on some evenings, by session and ticker, without some tickers.

    An evening is the session that candidates were trained on.
    """
    rows = conn.execute(
        statement("registry/others_of_evenings"), {"trained_on": sorted(set(evenings)), "tickers": list(tickers)}
    )
    found: dict[date, dict[str, JudgedBefore]] = {evening: {} for evening in evenings}
    for evening, ticker, p_value, coin_passes in rows:
        found[evening][ticker] = JudgedBefore(p_value=p_value, coin_passes=coin_passes)
    return found


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
