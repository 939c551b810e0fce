"""Rehearsal of the gate: from windows to verdicts without a database, keeping only the forecasts that are judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.gate.evidence import Evidence
from ldtm_lib.gate.multiple_testing import MultipleTesting, Trials, multiple_testing_of
from ldtm_lib.gate.rules import confirm, judge
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.settings import Settings
from ldtm_lib.training.plan import TrainingPlan
from ldtm_lib.training.run import FailedPart, TestedFolds, TrainingContext, train


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rehearsed:
    """Results of the networks of a rehearsal, by the name of their windows."""

    reports: Mapping[str, Sequence[FoldReport]]
    """Fold reports, oldest first, where all folds were tested."""
    failures: Mapping[str, str]
    """Reasons why the others have no reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdicts:
    """Verdicts of both gates on the same forecasts."""

    evidence: Evidence
    plain: Verdict
    strict: Verdict
    """Verdict by the rules of the plain and the strict gate, whether or not the settings enable the strict gate."""


def rehearse(plan: TrainingPlan, context: TrainingContext) -> Rehearsed:
    """Train and test the folds of a plan as a retraining does, and keep the results in memory."""
    reports: dict[str, Sequence[FoldReport]] = {}
    failures: dict[str, str] = {}
    for result in train(plan, context):
        if isinstance(result, FailedPart):
            failures[result.ticker] = result.reason
        elif isinstance(result, TestedFolds):
            reports[result.ticker] = result.reports
    return Rehearsed(reports=dict(sorted(reports.items())), failures=failures)


def tested_together(
    reports: Mapping[str, Sequence[FoldReport]], settings: Settings, *, num_trainings: int
) -> dict[str, tuple[Verdict, MultipleTesting]]:
    """The verdicts of `judge` on models that are judged together, and their multiple-testing figures, by their name.

    Each model was trained `num_trainings` times with one setting. A model without a test row has no verdict.
    """
    verdicts = {name: judge(some, settings.gate, settings.forecast) for name, some in reports.items()}
    evidence = {name: verdict.evidence for name, verdict in verdicts.items() if verdict.evidence is not None}
    trials = dict.fromkeys(evidence, Trials(num_trainings=num_trainings, num_settings=1))
    found = multiple_testing_of(evidence, trials, {})
    return {name: (verdicts[name], found[name]) for name in evidence}


def judged_together(reports: Mapping[str, Sequence[FoldReport]], settings: Settings) -> dict[str, GateVerdicts]:
    """The verdicts of both gates on models that are judged together, each after a single training, by their name.

    A model without a test row has no verdict.
    """
    strict = settings.gate.replace(strict=True)
    return {
        name: GateVerdicts(
            evidence=verdict.evidence,
            plain=verdict,
            strict=confirm(verdict, multiple_testing, strict, settings.forecast),
        )
        for name, (verdict, multiple_testing) in tested_together(reports, settings, num_trainings=1).items()
        if verdict.evidence is not None
    }
