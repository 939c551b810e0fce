"""The gate in the UI: a check per rule, evaluated for every ticker, and one about all of them together.

A ticker's failed check blocks the promotion of that ticker only: the library promotes the candidates that pass, and
these checks show the reasons. They do not block downstream assets, which would stop all tickers because of one.
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from ldtm_assets.asset_checks.by_ticker import check_of_tickers, newest_materializations
from ldtm_assets.asset_checks.scope import selected_checks
from ldtm_assets.materialization import listed, unplotted
from ldtm_lib.gate.comparison import NOT_WORSE_THAN_ACTIVE
from ldtm_lib.gate.evidence import Evidence
from ldtm_lib.gate.multiple_testing import MultipleTesting
from ldtm_lib.gate.strict import strict_rules
from ldtm_lib.gate.universe import Universe
from ldtm_lib.gate.verdict import Rule, Verdict
from ldtm_lib.registry.promotion import Promotion
from ldtm_lib.sessions import HORIZON_NAMES
from ldtm_lib.settings import GateConfig

REGISTRY = dg.AssetKey("registry")
Metadata = dict[str, dg.MetadataValue | str | int | float | None]

GATE, STRICT = "gate", "strict_gate"
COMPARISON = "active_model"
RULES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "direction_accuracy": (
        ("direction_accuracy",),
        "Next-day direction was right often enough on unseen sessions.",
    ),
    "price_error": (("price_error",), "The mean next-day price error is small enough."),
    "leakage": (("leakage_rows",), "No row, window or label of the backtest contains data that it must not contain."),
    "folds": (("folds", "fold_sessions"), "Enough folds were tested, each on enough sessions."),
    "calls": (("directional_calls", "call_coverage"), "Enough next-day forecasts name a direction."),
    "best_constant": (
        ("best_constant",),
        "Next-day direction was right more often than the best constant direction on the same days.",
    ),
    COMPARISON: (
        (NOT_WORSE_THAN_ACTIVE,),
        "The candidate is no worse than the active model on shared test sessions, or there is none to compare with.",
    ),
}
"""Checks by name: the rules that each one shows, and its description."""
OWN_RULES = frozenset(rule for rules, _ in RULES.values() for rule in rules)
COUNTS = frozenset({"leakage_rows", "folds", "fold_sessions", "directional_calls", NOT_WORSE_THAN_ACTIVE})
"""Rules whose figure and bound are counts; those of the others are shares, errors and probabilities."""


def gate_check_specs(tickers: dg.PartitionsDefinition[str], *, strict: bool) -> list[dg.AssetCheckSpec]:
    """The checks of every ticker, and the summary of a run."""
    per_ticker = {name: description for name, (_, description) in RULES.items()}
    if strict:
        per_ticker[STRICT] = "The evidence passes the statistical tests of the strict gate."
    return [
        *(
            dg.AssetCheckSpec(name, asset="registry", description=description, partitions_def=tickers)
            for name, description in per_ticker.items()
        ),
        dg.AssetCheckSpec(
            GATE, asset="registry", description="Every ticker's newest network passed the gate and is in service."
        ),
    ]


def gate_checks(
    context: dg.AssetExecutionContext, promotions: Sequence[Promotion], universe: Universe, gate: GateConfig
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the requested checks of the gate: each ticker's own, then their summary."""
    asked = selected_checks(context)
    targets = newest_materializations(context, REGISTRY, [promotion.ticker for promotion in promotions])
    for name in (*RULES, STRICT):
        if name in asked:
            yield from check_of_tickers(
                context, [_evaluation(name, each, targets.get(each.ticker), gate) for each in promotions]
            )
    if GATE in asked:
        yield _summary(promotions, universe)


def _evaluation(
    name: str, promotion: Promotion, target: AssetCheckEvaluationTargetMaterializationData | None, gate: GateConfig
) -> dg.AssetCheckEvaluation:
    verdict = promotion.verdict
    rules = _rules_of(name, verdict, gate)
    failed = [rule for rule in rules if not rule.passed]
    metadata: Metadata = {"outcome": promotion.message, "active version": promotion.version or "none"}
    for rule in rules:
        prefix = "" if len(rules) == 1 else f"{rule.rule.replace('_', ' ')}: "
        shown = (("figure", rule.figure), ("bound", rule.bound))
        metadata |= {f"{prefix}{name}": _of_rule(rule.rule, value) for name, value in shown if value is not None}
    metadata |= _figures(name, verdict.evidence, verdict.multiple_testing)
    return dg.AssetCheckEvaluation(
        asset_key=REGISTRY,
        check_name=name,
        passed=bool(verdict.rules) and not failed,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(rule.reason for rule in failed or rules) or _without_rules(name, verdict),
        metadata=unplotted({k: dg.MetadataValue.text("unknown") if v is None else v for k, v in metadata.items()}),
        partition=promotion.ticker,
        target_materialization_data=target,
    )


def _of_rule(rule: str, value: float) -> str:
    """The figure or the bound of a rule, with as many digits as the reason of the rule."""
    return f"{value:,.0f}" if rule in COUNTS else f"{value:.2%}"


def _rules_of(name: str, verdict: Verdict, gate: GateConfig) -> list[Rule]:
    """Return the rules that a check shows; if the gate could not apply any, the rule that stopped it.

    Empty for a rule that the verdict does not have, because it was not in force then or there was no active model. A
    verdict from before the strict gate was turned on lacks its rules: they are computed from its evidence.
    """
    if not any(rule.rule in OWN_RULES for rule in verdict.rules):
        return list(verdict.rules)
    if name != STRICT:
        return [rule for rule in verdict.rules if rule.rule in RULES[name][0]]
    found = [rule for rule in verdict.rules if rule.rule not in OWN_RULES]
    if not found and verdict.evidence is not None:
        found = list(strict_rules(verdict.evidence, verdict.multiple_testing, gate))
    return found


def _without_rules(name: str, verdict: Verdict) -> str:
    """The description of a check whose rules a verdict does not have."""
    if not verdict.rules:
        return "no verdict of the gate is on record"
    if name == COMPARISON:
        return "the ticker had no other active model to be compared with"
    return "the verdict on record was given without this rule"


def _figures(name: str, evidence: Evidence | None, multiple_testing: MultipleTesting | None) -> Metadata:
    """Figures that supplement the figure of a rule."""
    if evidence is None:
        return {}
    if name == "direction_accuracy":
        return {
            "independent days": round(evidence.effective_days, 1),
            "95% interval, low": _share(evidence.accuracy_low) or None,
            "95% interval, high": _share(evidence.accuracy_high) or None,
            "a coin passes with probability": _share(evidence.coin_passes),
            "a coin does as well with probability": _share(evidence.coin_p),
            "always up was right": _share(evidence.base_rate) or None,
            "Pesaran-Timmermann p": _p(evidence.timing_p),
            **_multiple_testing_figures(multiple_testing),
        }
    if name == "price_error":
        figures: Metadata = {}
        for horizon in evidence.horizons:
            words = HORIZON_NAMES[horizon.horizon]
            figures |= {
                f"{words}: error relative to no change": _ratio(horizon.relative_error) or None,
                f"{words}: Diebold-Mariano p": _p(horizon.p_better),
                f"{words}: independent days": round(horizon.effective_days, 1),
            }
        return figures
    if name == "folds":
        return {"test rows": evidence.num_test_rows}
    if name == "best_constant":
        return {"always up was right": _share(evidence.base_rate) or None}
    return {}


def _multiple_testing_figures(multiple_testing: MultipleTesting | None) -> Metadata:
    if multiple_testing is None:
        return {}
    return {
        "false discovery rate (q)": _share(multiple_testing.q_value),
        "judged for the same session": multiple_testing.num_judged,
        "tickers of that session": multiple_testing.num_tickers,
        "trainings of this ticker so far": multiple_testing.num_trainings,
        "settings tried": multiple_testing.num_settings,
    }


def _summary(promotions: Sequence[Promotion], universe: Universe) -> dg.AssetCheckResult:
    """The check of a run: a warning that names each ticker that stays a candidate, with the figures of coins."""
    failed = [p for p in promotions if not p.verdict.passed or p.is_out_of_service]
    promoted = [promotion for promotion in promotions if promotion.outcome == "promoted"]
    return dg.AssetCheckResult(
        asset_key="registry",
        check_name=GATE,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "passed": len(promotions) - len(failed),
            "failed": len(failed),
            "coins that would pass the direction rule": round(universe.coins_expected, 1),
            "direction right, all judged now": _share(universe.accuracy) or "none",
            "95% interval of direction right": f"{_share(universe.interval.low)}–{_share(universe.interval.high)}"
            if universe.interval
            else "none",
            "tickers judged now": universe.num_tickers,
            "effective number of independent tickers": round(universe.effective_tickers, 1),
            "promoted": listed(promotion.message for promotion in promoted),
            "reasons": listed(promotion.message for promotion in failed),
            "evidence": _table(promotions),
        },
    )


COLUMNS = (
    "ticker",
    "passed",
    "direction right",
    "95% interval",
    "chance that a coin passes",
    "always up was right",
    "timing p",
    "false discovery rate (q)",
    "next-day error / no change",
)


def _table(promotions: Sequence[Promotion]) -> dg.MetadataValue:
    """Every ticker with its evidence, in one table."""
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(zip(COLUMNS, _cells(p), strict=True))) for p in promotions],
        dg.TableSchema([dg.TableColumn(name) for name in COLUMNS]),
    )


def _cells(promotion: Promotion) -> tuple[str, ...]:
    evidence, multiple_testing = promotion.verdict.evidence, promotion.verdict.multiple_testing
    passed = "yes" if promotion.verdict.passed else "no"
    if evidence is None:
        return (promotion.ticker, passed, *[""] * 7)
    next_day = evidence.horizons[0]
    return (
        promotion.ticker,
        passed,
        _share(evidence.accuracy),
        f"{_share(evidence.accuracy_low)}–{_share(evidence.accuracy_high)}",
        _share(evidence.coin_passes),
        _share(evidence.base_rate),
        _p(evidence.timing_p),
        "" if multiple_testing is None else _share(multiple_testing.q_value),
        _ratio(next_day.relative_error),
    )


def _share(value: float | None) -> str:
    """A share or a probability; only 0 is shown as 0%."""
    if value is None:
        return ""
    return "below 0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
