"""Placebo retrainings over a year: the number of tickers whose active model cannot know anything.

Each gate judges the same forecasts and has active models of its own. Placebo models have no live rows, so that none of
them is ever found degraded: only a promotion replaces one.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ldtm_lib.backtest.folds import plan_folds
from ldtm_lib.backtest.walk_forward import FoldReport, tasks_of
from ldtm_lib.errors import TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.gate.comparison import NOT_WORSE_THAN_ACTIVE, ActiveModel, next_day_tests
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.rules import SPECIFIED, confirm
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.placebo.calibration import require_folds, share_interval
from ldtm_lib.placebo.rehearsal import Rehearsed, rehearse, tested_together
from ldtm_lib.placebo.shuffling import MARK, original_of, shuffled
from ldtm_lib.settings import Settings
from ldtm_lib.statistics.wilson import Interval
from ldtm_lib.training.plan import TrainingPlan
from ldtm_lib.training.run import TrainingContext
from ldtm_lib.wording import counted

SESSIONS_BETWEEN = 5
"""Sessions from one retraining to the next: a week, as `retraining_schedule` has it."""
FOUR_RULES, PLAIN, STRICT = "four rules", "plain gate", "strict gate"
GATES = (FOUR_RULES, PLAIN, STRICT)
"""The gates that are compared: the four rules of direction accuracy, price error, leakage and folds, by which every
candidate that passes replaces the active model; the plain gate; and the strict gate."""

ContextOf = Callable[[], TrainingContext]
"""Gives the context of the next retraining, with callbacks of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """One retraining of one placebo model, judged."""

    ticker: str
    copy: int
    trained_on: date
    """The last session whose bars it could see."""
    promoted_by: tuple[str, ...]
    """The gates that promoted it."""
    failed: tuple[str, ...]
    """The rules of the plain and the strict gate that it failed, without the comparison with an active model."""
    lost_to_active: tuple[str, ...]
    """The gates in which it failed the comparison with the active model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTally:
    """The result of one gate after all retrainings."""

    gate: str
    num_models: int
    num_active: int
    """Placebo models that are active at the end."""
    active_interval: Interval | None
    """The 95% interval of their share (Wilson); None without a model. Copies of one ticker are tested on the same days
    of the market, so that the true interval is somewhat wider."""
    num_promotions: int
    num_replacements: int
    """Promotions over a model that was active."""
    refused_by_rule: Mapping[str, int]
    """Number of retrainings that failed, by rule of the gate; one retraining may fail several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingReport:
    """The result of the retrainings so far."""

    num_retrainings: int
    num_asked: int
    """Number of retrainings that were requested."""
    num_copies: int
    num_networks: int
    gates: tuple[GateTally, ...]
    active_by_ticker: Mapping[str, Mapping[str, int]]
    """Active placebo models at the end, by ticker and gate."""
    retrainings: tuple[Retraining, ...]
    untrained: Mapping[str, str]
    """Models with a failed retraining, such as `AAPL~17`, and its newest reason; their other retrainings count."""

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The size of a run of retrainings, known before it starts."""

    num_networks: int
    seconds_per_network: float
    """Time of a trial network: the newest fold of the first ticker, which has more training rows than most others."""


@dataclass(slots=True, kw_only=True)
class _Books:
    """The active models of one gate, and its decisions so far."""

    gate: str
    active: dict[str, ActiveModel] = field(default_factory=dict[str, ActiveModel])
    num_promotions: int = 0
    num_replacements: int = 0
    refused_by_rule: Counter[str] = field(default_factory=Counter[str])

    def decide(self, name: str, verdict: Verdict, reports: Sequence[FoldReport], trained_on: date) -> None:
        """Promote a candidate if its verdict passed, and count the rules that it failed."""
        self.refused_by_rule.update({rule.rule: int(not rule.passed) for rule in verdict.rules})
        if verdict.passed:
            self.num_promotions += 1
            self.num_replacements += name in self.active
            self.active[name] = ActiveModel(version=f"{name} of {trained_on}", tests=next_day_tests(reports))


def cutoffs(windows: WindowSet, num_retrainings: int) -> list[date]:
    """The last session that each retraining of a ticker sees, oldest first; the newest is that of its newest bar.

    Raises TooFewBars if the history is shorter than the retrainings.
    """
    first = len(windows.bar_sessions) - 1 - SESSIONS_BETWEEN * (num_retrainings - 1)
    if first < 0:
        raise TooFewBars(
            f"{windows.ticker} has {counted(len(windows.bar_sessions), 'bar')}, too few for "
            f"{counted(num_retrainings, 'retraining')}; use more bars, or leave the ticker out"
        )
    return [day.item() for day in windows.bar_sessions[first::SESSIONS_BETWEEN]]


def require_retrainings(windows: WindowSet, settings: Settings, num_retrainings: int) -> None:
    """Raise TooFewBars if a ticker has too few bars for a fold of its oldest retraining, or for exchanging futures."""
    require_folds(windows.known_by(cutoffs(windows, num_retrainings)[0]), settings)
    shuffled(windows, seed=0, copy=0)


def workload(
    windows: Mapping[str, WindowSet], context: TrainingContext, *, num_retrainings: int, num_copies: int
) -> Workload:
    """Count the networks of all retrainings, and time one: it is trained twice, as the first time has one-off costs."""
    settings = context.settings
    num_networks = sum(
        len(plan_folds(true.known_by(cutoff), settings.backtest, settings.training))
        for true in windows.values()
        for cutoff in cutoffs(true, num_retrainings)
    )
    true = next(iter(windows.values()))
    folds = require_folds(true, settings)[-1:]
    plan = TrainingPlan(tasks=tasks_of(true, folds, None), folds={true.ticker: folds})
    rehearse(plan, context)
    started = time.perf_counter()
    rehearse(plan, context)
    return Workload(num_networks=num_copies * num_networks, seconds_per_network=time.perf_counter() - started)


def run_retrainings(
    windows: Mapping[str, WindowSet],
    context_of: ContextOf,
    *,
    num_retrainings: int,
    num_copies: int,
    seed: int,
    on_retraining: Callable[[int], None] = lambda number: None,
) -> Iterator[RetrainingReport]:
    """Retrain and judge placebo models every five sessions up to the newest bar; yields a report after each retraining.

    The futures of each copy are exchanged once, and every retraining sees the bars and futures that are known by its
    session: neighbouring retrainings share most of their rows, as real ones do. Copies with the same number are judged
    together over all tickers. `on_retraining` is called with the number of each retraining, from 1, before it starts.
    Raises TooFewBars for a ticker whose history is too short.
    """
    copies = {
        of_others.ticker: of_others
        for copy in range(num_copies)
        for of_others in (shuffled(true, seed=seed, copy=copy) for true in windows.values())
    }
    sessions = {ticker: cutoffs(true, num_retrainings) for ticker, true in windows.items()}
    books = {gate: _Books(gate=gate) for gate in GATES}
    judged: list[Retraining] = []
    untrained: dict[str, str] = {}
    num_networks = 0
    for number in range(num_retrainings):
        on_retraining(number + 1)
        context = context_of()
        trained_on = {name: sessions[original_of(name)][number] for name in copies}
        rehearsed = _trained({name: copies[name].known_by(day) for name, day in trained_on.items()}, context)
        untrained |= rehearsed.failures
        num_networks += sum(len(reports) for reports in rehearsed.reports.values())
        for copy in range(num_copies):
            names = [name for ticker in windows if (name := f"{ticker}{MARK}{copy}") in rehearsed.reports]
            reports = {name: rehearsed.reports[name] for name in names}
            judged += _judged(reports, trained_on, copy, number + 1, context.settings, books)
        num_models = len({(retraining.ticker, retraining.copy) for retraining in judged})
        yield RetrainingReport(
            num_retrainings=number + 1,
            num_asked=num_retrainings,
            num_copies=num_copies,
            num_networks=num_networks,
            gates=tuple(_tally(of_gate, num_models) for of_gate in books.values()),
            active_by_ticker={
                ticker: {gate: sum(original_of(name) == ticker for name in books[gate].active) for gate in GATES}
                for ticker in windows
            },
            retrainings=tuple(judged),
            untrained=dict(untrained),
        )


def _trained(known: Mapping[str, WindowSet], context: TrainingContext) -> Rehearsed:
    """Train and test the folds of some windows."""
    plan = TrainingPlan()
    for name, windows in known.items():
        plan.folds[name] = require_folds(windows, context.settings)
        plan.tasks += tasks_of(windows, plan.folds[name], None)
    return rehearse(plan, context)


def _judged(
    reports: Mapping[str, Sequence[FoldReport]],
    trained_on: Mapping[str, date],
    copy: int,
    num_trainings: int,
    settings: Settings,
    books: Mapping[str, _Books],
) -> list[Retraining]:
    """Judge the models of one retraining with the same copy number by every gate, and record the decisions."""
    judged: list[Retraining] = []
    for name, (verdict, found) in tested_together(reports, settings, num_trainings=num_trainings).items():
        of_gates = _by_gate(verdict, found, reports[name], settings, books, name)
        failed = {gate: [rule.rule for rule in of_gates[gate].failures] for gate in GATES}
        for gate, decision in of_gates.items():
            books[gate].decide(name, decision, reports[name], trained_on[name])
        judged.append(
            Retraining(
                ticker=original_of(name),
                copy=copy,
                trained_on=trained_on[name],
                promoted_by=tuple(gate for gate in GATES if of_gates[gate].passed),
                failed=tuple(rule for rule in failed[STRICT] if rule != NOT_WORSE_THAN_ACTIVE),
                lost_to_active=tuple(gate for gate in GATES if NOT_WORSE_THAN_ACTIVE in failed[gate]),
            )
        )
    return judged


def _by_gate(
    verdict: Verdict,
    multiple_testing: MultipleTesting,
    reports: Sequence[FoldReport],
    settings: Settings,
    books: Mapping[str, _Books],
    name: str,
) -> dict[str, Verdict]:
    """The verdicts of the three gates on one candidate. All but the four rules compare it with their active model."""

    def confirmed(gate: str, *, strict: bool) -> Verdict:
        return confirm(
            verdict,
            multiple_testing,
            settings.gate.replace(strict=strict),
            settings.forecast,
            reports=reports,
            active=books[gate].active.get(name),
        )

    four = dataclasses.replace(verdict, rules=tuple(rule for rule in verdict.rules if rule.rule in SPECIFIED))
    return {FOUR_RULES: four, PLAIN: confirmed(PLAIN, strict=False), STRICT: confirmed(STRICT, strict=True)}


def _tally(books: _Books, num_models: int) -> GateTally:
    num_active = len(books.active)
    return GateTally(
        gate=books.gate,
        num_models=num_models,
        num_active=num_active,
        active_interval=share_interval(num_active, num_models),
        num_promotions=books.num_promotions,
        num_replacements=books.num_replacements,
        refused_by_rule=dict(books.refused_by_rule),
    )
