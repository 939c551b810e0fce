"""The verdict of the gate on one candidate: the rules applied, and the evidence shown with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldtm_lib.gate.evidence import Evidence, evidence_from
from ldtm_lib.gate.multiple_testing import MultipleTesting, multiple_testing_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The result of one rule."""

    rule: str
    figure: float | None
    """The measured value; None if nothing could be measured."""
    bound: float | None
    passed: bool
    reason: str
    """The figure and the bound in words, for passed and failed rules alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict of the gate on one candidate, rule by rule, with evidence and multiple-testing figures."""

    rules: tuple[Rule, ...]
    evidence: Evidence | None = None
    """Figures of its backtest; None if nothing was tested."""
    multiple_testing: MultipleTesting | None = None
    """Its multiple-testing figures; None before `confirm`, and for a ticker without evidence."""

    @property
    def passed(self) -> bool:
        """True if every rule passed; false for a verdict without rules."""
        return bool(self.rules) and all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[Rule, ...]:
        """The rules that failed."""
        return tuple(rule for rule in self.rules if not rule.passed)


def verdict_of(
    rules: Sequence[Mapping[str, object]],
    evidence: Mapping[str, object] | None = None,
    multiple_testing: Mapping[str, object] | None = None,
) -> Verdict:
    """Parse a verdict from the JSON columns of a row."""
    return Verdict(
        rules=tuple(Rule(**rule) for rule in rules),  # pyright: ignore[reportArgumentType]
        evidence=None if evidence is None else evidence_from(evidence),
        multiple_testing=None if multiple_testing is None else multiple_testing_from(multiple_testing),
    )
