"""The way from windows to verdicts without a database: nothing is kept but the forecasts that are judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldtm_lib.backtest.folds import FoldPlan
from ldtm_lib.backtest.walk_forward import FoldReport, fold_report
from ldtm_lib.gate.evidence import Evidence
from ldtm_lib.gate.multiple_testing import Trials, standings
from ldtm_lib.gate.rules import confirm, judge
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.models.fit import FitFailed, FitTask
from ldtm_lib.models.forecast import predict
from ldtm_lib.models.trainer import fit_universe
from ldtm_lib.settings import Settings
from ldtm_lib.training.callbacks import TrainingCallbacks

ONE_TRIAL = Trials(num_trainings=1, num_settings=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rehearsed:
    """What became of the networks of a rehearsal, by the name that their windows go by."""

    reports: Mapping[str, Sequence[FoldReport]]
    """Of those whose every fold was tested, oldest fold first."""
    failures: Mapping[str, str]
    """Why the others have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdicts:
    """What both gates say about the same forecasts."""

    evidence: Evidence
    four_rules: Verdict
    strict: Verdict
    """The same four rules and those of the strict gate, whether the settings ask for them or not."""


def rehearse(
    tasks: Sequence[FitTask],
    plans: Mapping[str, Sequence[FoldPlan]],
    settings: Settings,
    *,
    device: str,
    callbacks: TrainingCallbacks | None = None,
) -> Rehearsed:
    """Train all tasks in one `fit_universe` and test each network on its fold, on the CPU as a retraining does.

    `plans` holds the folds of every ticker that a task is of, as `plan_folds` gives them.
    """
    if callbacks is not None:
        callbacks.on_start(tasks)
    reports: dict[str, list[FoldReport]] = {}
    failures: dict[str, str] = {}
    for result in fit_universe(
        tasks,
        recipe=settings.training,
        architecture=settings.architecture,
        device=device,
        gpu=settings.gpu,
        on_progress=callbacks.on_epoch if callbacks is not None else None,
    ):
        name = result.task.ticker
        if isinstance(result, FitFailed):
            failures[name] = str(result.reason)
        else:
            (plan,) = (plan for plan in plans[name] if plan.fold == result.task.fold)
            predictions = predict(result.state, result.task.windows, plan.test_rows, settings.architecture, "cpu")
            reports.setdefault(name, []).append(fold_report(plan, result, predictions))
        if callbacks is not None:
            callbacks.on_result(result)
    whole = {name: sorted(some, key=lambda report: report.fold) for name, some in reports.items()}
    return Rehearsed(
        reports={name: some for name, some in sorted(whole.items()) if name not in failures}, failures=failures
    )


def judged_together(reports: Mapping[str, Sequence[FoldReport]], settings: Settings) -> dict[str, GateVerdicts]:
    """The verdicts of both gates on models that come up on one evening, each after a single training, by their name.

    One without a test row has none.
    """
    strict = settings.gate.replace(strict=True)
    verdicts = {name: judge(some, settings.gate, settings.forecast.neutral_band) for name, some in reports.items()}
    evidence = {name: verdict.evidence for name, verdict in verdicts.items() if verdict.evidence is not None}
    standing = standings(evidence, dict.fromkeys(evidence, ONE_TRIAL), {})
    return {
        name: GateVerdicts(
            evidence=shown, four_rules=verdicts[name], strict=confirm(verdicts[name], standing[name], strict)
        )
        for name, shown in evidence.items()
    }
