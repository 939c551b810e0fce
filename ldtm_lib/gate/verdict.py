"""What the gate says about one candidate: its rules, and the evidence that is worked out beside them."""

from dataclasses import dataclass

from ldtm_lib.gate.evidence import Evidence
from ldtm_lib.gate.multiple_testing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, applied."""

    rule: str
    figure: float | None
    """What was measured; None where nothing could be."""
    bound: float | None
    passed: bool
    reason: str
    """The figure against the bound in words, whether it passed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says about one candidate, rule by rule. Evidence and standing decide nothing by themselves."""

    rules: tuple[Rule, ...]
    evidence: Evidence | None = None
    """What its backtest shows; None where nothing was tested, and in verdicts from before there was evidence."""
    standing: Standing | None = None
    """Its place among those that were judged with it; None before all of them are."""

    @property
    def passed(self) -> bool:
        """Whether every rule passed; a verdict without rules has not."""
        return bool(self.rules) and all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[Rule, ...]:
        """The rules that failed."""
        return tuple(rule for rule in self.rules if not rule.passed)
