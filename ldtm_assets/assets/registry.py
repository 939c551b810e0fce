"""The gate: which candidate becomes the active model of its ticker, and why the others do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from ldtm_assets.asset_checks.results import listed
from ldtm_assets.assets.materialization import Metadata, Outcome
from ldtm_lib.alerts.alert import Alert, raise_alerts
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.errors import FileNotRemoved
from ldtm_lib.gate.universe import Universe
from ldtm_lib.project import Project
from ldtm_lib.registry.gate_alerts import card_of, gate_alerts
from ldtm_lib.registry.judgement import judge_newest
from ldtm_lib.registry.promotion import Promotion, promote
from ldtm_lib.registry.retention import prune


def registry_spec(tickers: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """The asset `registry`, partitioned by ticker."""
    return dg.AssetSpec(
        "registry",
        deps=["backtests", "checkpoints"],
        description="The gate's verdict on the ticker's newest candidate; when it passes, the active model.",
        partitions_def=tickers,
        group_name="models",
        kinds={"postgres"},
        skippable=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What happened at the gate in one run."""

    promotions: list[Promotion]
    universe: Universe
    alerts: list[Alert]

    @property
    def outcome(self) -> Outcome:
        """What it means for the partitions of the asset: a refused ticker was judged, which is no failure."""
        return Outcome(done={promotion.ticker: _metadata(promotion) for promotion in self.promotions})


def pass_the_gate(project: Project, tickers: Sequence[str], run_id: str) -> Passage:
    """Judge and promote some tickers in one transaction, which raises the alerts of it as well."""
    settings = project.settings
    with project.database.transaction() as conn:
        judgement = judge_newest(conn, tickers, settings)
        promotions = promote(conn, project.checkpoint_folder, judgement.decisions, architecture=settings.architecture)
        alerts = gate_alerts(promotions, run_id=run_id, session=last_closed_session(conn))
        raise_alerts(conn, alerts)
    return Passage(promotions=promotions, universe=judgement.universe, alerts=alerts)


def remove_unneeded_files(project: Project, tickers: Sequence[str]) -> str:
    """Remove the checkpoint files of some tickers that nobody needs any more; returns a line for the log."""
    try:
        removed = prune(project.database, project.checkpoint_folder, config=project.settings.registry, tickers=tickers)
    except FileNotRemoved as error:
        return f"unneeded checkpoint files stay until the next time: {error}"
    return f"{len(removed)} checkpoint files that nobody needs were removed"


def _metadata(promotion: Promotion) -> Metadata:
    rules = {rule.rule.replace("_", " "): rule.reason for rule in promotion.verdict.rules}
    return {
        "outcome": promotion.message,
        "passed the gate": promotion.verdict.passed,
        "active version": promotion.version or "none",
        "card": listed(card_of(promotion)),
        **rules,
    }
