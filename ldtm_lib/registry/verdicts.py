"""The gate's verdicts on record: one row whenever what the gate says about a ticker is new."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from ldtm_lib.backtest.gate import Rule, Verdict
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

    A verdict that equals the newest one of its ticker, on the same candidate and backtest, writes nothing.
    """
    columns = {
        "tickers": [d.ticker for d in decisions],
        "trained_on": [d.subject and d.subject.trained_on for d in decisions],
        "checkpoint_ids": [d.candidate and d.candidate.checkpoint_id for d in decisions],
        "backtest_ids": [d.backtest_id for d in decisions],
        "passed": [d.verdict.passed for d in decisions],
        "rules": [Jsonb([dataclasses.asdict(rule) for rule in d.verdict.rules]) for d in decisions],
    }
    return {ticker for (ticker,) in conn.execute(statement("registry/insert_verdicts"), columns)}


def of_checkpoints(conn: Connection, checkpoint_ids: Collection[int]) -> dict[int, Verdict]:
    """The newest verdict on each of some checkpoints."""
    parameters = {"checkpoint_ids": list(checkpoint_ids)}
    rows = conn.execute(statement("registry/verdicts_of_checkpoints"), parameters)
    return {checkpoint_id: verdict_of(rules) for checkpoint_id, rules in rows}


def verdict_of(rules: Sequence[Mapping[str, object]]) -> Verdict:
    """The verdict whose rules a row holds as JSON."""
    return Verdict(rules=tuple(Rule(**rule) for rule in rules))  # pyright: ignore[reportArgumentType]
