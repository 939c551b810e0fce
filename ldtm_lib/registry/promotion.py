"""Promotion from candidate to active: verdicts, files and rows change together, in the caller's one transaction.

The file is copied under its versioned name and synced before the transaction commits. A crash in between leaves at
most a file without a row; the next promotion uses it, or takes the next free name. One advisory lock makes promotions
of a schema wait for each other, and the database itself allows at most one active checkpoint per ticker.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import CheckpointRefused, RegistryConflict
from ldtm_lib.gate.verdict import Rule, Verdict
from ldtm_lib.registry.checkpoints import CheckpointRecord, promoted_checkpoints
from ldtm_lib.registry.decommissioned import DecommissionedModel, OutOfService, decommissioned_models, out_of_service
from ldtm_lib.registry.judgement import Decision, record_verdicts
from ldtm_lib.registry.versions import Version, active_one, earned_major, publish
from ldtm_lib.settings import ArchitectureConfig
from ldtm_lib.wording import counted

PromotionOutcome = Literal["promoted", "already promoted", "stays candidate", "superseded", "not trained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The result of the gate for one ticker."""

    ticker: str
    outcome: PromotionOutcome
    verdict: Verdict
    version: str | None
    """The ticker's active version afterwards, such as `v1.2026-03-02`; None where it has none."""
    retired_version: str | None
    """The version that retired in this promotion."""
    is_news: bool
    """True if the verdict was recorded now; a rerun with an equal verdict is not news."""
    out_of_service: OutOfService | None = None
    """The lifecycle action that decommissioned the newest network, if it was promoted before and is not active."""

    @property
    def is_out_of_service(self) -> bool:
        """True if the newest network passed the gate and was decommissioned by a lifecycle action since."""
        return self.out_of_service is not None

    @property
    def message(self) -> str:
        """One line for the people who run it: every failed rule with its figure and its bound."""
        if self.outcome == "promoted":
            return f"{self.ticker} {self.version} is active" + (
                f", {self.retired_version} retired" if self.retired_version else ""
            )
        if self.outcome == "already promoted":
            if self.out_of_service is None:
                return f"{self.ticker} has nothing new: its newest network was promoted before"
            stays = f"{self.version} stays active" if self.version else "it abstains"
            return f"{self.out_of_service.sentence}; {stays} until another one passes"
        if self.outcome == "superseded":
            stays = f"stays with {self.version}" if self.version else "stays without an active version"
            return f"{self.ticker} {stays}: a network newer than the judged candidate was promoted meanwhile"
        reasons = "; ".join(rule.reason for rule in self.verdict.failures)
        if self.outcome == "not trained":
            return reasons
        return f"{self.ticker} stays candidate: {reasons}"


def promote(
    conn: Connection, folder: Path, decisions: Sequence[Decision], *, architecture: ArchitectureConfig
) -> list[Promotion]:
    """Record verdicts and make every candidate that passed the active one of its ticker. One decision per ticker.

    A candidate whose file is missing, altered or of another architecture fails a further rule, `file`, and stays a
    candidate. A repeated call changes nothing. Raises RegistryConflict when a candidate changes meanwhile, and
    CheckpointNotWritten when a copy cannot be written: roll the transaction back then, so that nothing changes.
    """
    conn.execute(query("registry.lock_promotions"))
    promoted: dict[str, list[CheckpointRecord]] = {decision.ticker: [] for decision in decisions}
    for record in promoted_checkpoints(conn, promoted):
        promoted[record.ticker].append(record)

    decommissioned = decommissioned_models(conn, promoted)
    settled: list[Decision] = []
    outcomes: list[PromotionOutcome] = []
    versions: dict[str, Version] = {}
    for decision in decisions:
        history = promoted[decision.ticker]
        outcome = _outcome(decision, history)
        if outcome == "promoted" and (candidate := decision.candidate):
            try:
                versions[decision.ticker] = publish(
                    folder,
                    candidate,
                    major=earned_major(candidate, history),
                    history=history,
                    architecture=architecture,
                )
            except CheckpointRefused as refused:
                decision = _with_refused_file(decision, refused)
                outcome = "stays candidate"
        settled.append(decision)
        outcomes.append(outcome)

    _activate(conn, settled, versions)
    fresh = [d for d, outcome in zip(settled, outcomes, strict=True) if outcome != "already promoted"]
    news = record_verdicts(conn, fresh)
    return [
        _promotion(
            decision,
            outcome,
            promoted[decision.ticker],
            versions.get(decision.ticker),
            news,
            decommissioned.get(decision.ticker, ()),
        )
        for decision, outcome in zip(settled, outcomes, strict=True)
    ]


def _outcome(decision: Decision, history: Sequence[CheckpointRecord]) -> PromotionOutcome:
    candidate = decision.candidate
    if candidate is None:
        return "not trained"
    if any(record.checkpoint_id == candidate.checkpoint_id for record in history):
        return "already promoted"
    if not decision.verdict.passed:
        return "stays candidate"
    if any(record.age > candidate.age for record in history):
        return "superseded"
    return "promoted"


def _with_refused_file(decision: Decision, refused: CheckpointRefused) -> Decision:
    rule = Rule(rule="file", figure=None, bound=None, passed=False, reason=str(refused))
    return replace(decision, verdict=Verdict(rules=(*decision.verdict.rules, rule)))


def _activate(conn: Connection, decisions: Sequence[Decision], versions: dict[str, Version]) -> None:
    ids = {d.ticker: d.candidate.checkpoint_id for d in decisions if d.candidate and d.ticker in versions}
    conn.execute(query("registry.retire_checkpoints"), {"tickers": list(ids)})
    columns = {
        "checkpoint_ids": list(ids.values()),
        "majors": [versions[ticker].major for ticker in ids],
        "versions": [versions[ticker].name for ticker in ids],
        "file_names": [versions[ticker].file_name for ticker in ids],
    }
    num_activated = conn.execute(query("registry.activate_checkpoints"), columns).rowcount
    if num_activated != len(ids):
        raise RegistryConflict(
            f"somebody else promoted or removed {len(ids) - num_activated} of {counted(len(ids), 'candidate')} "
            f"({', '.join(ids)}) meanwhile; nothing was changed, promote again"
        )


def _promotion(
    decision: Decision,
    outcome: PromotionOutcome,
    history: Sequence[CheckpointRecord],
    version: Version | None,
    news: set[str],
    decommissioned: Sequence[DecommissionedModel],
) -> Promotion:
    """The result; `history` and `decommissioned` are those of the ticker before this promotion."""
    active = active_one(history)
    before = active.version if active else None
    return Promotion(
        ticker=decision.ticker,
        outcome=outcome,
        verdict=decision.verdict,
        version=version.name if version else before,
        retired_version=before if version else None,
        is_news=decision.ticker in news,
        out_of_service=out_of_service(decommissioned) if outcome == "already promoted" else None,
    )
