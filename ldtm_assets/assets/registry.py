"""The registry: the promotion of candidates to active models, and the reasons why others were refused."""

from collections.abc import Sequence

import dagster as dg

from ldtm_assets.materialization import Metadata, Outcome, listed
from ldtm_lib.errors import FileNotRemoved
from ldtm_lib.project import Project
from ldtm_lib.registry.gate_run import GateResult, promotion_card
from ldtm_lib.registry.promotion import Promotion
from ldtm_lib.registry.retention import prune
from ldtm_lib.wording import counted


def registry_spec(tickers: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """The asset `registry`, partitioned by ticker."""
    return dg.AssetSpec(
        "registry",
        deps=["backtests", "checkpoints"],
        description="The gate's verdict on the ticker's newest candidate, which becomes the active model if it passes.",
        partitions_def=tickers,
        group_name="models",
        kinds={"postgres"},
        skippable=True,
    )


def outcome_of_gate(result: GateResult) -> Outcome:
    """The outcome of each partition of the asset: a refused ticker was judged, so it is not a failure."""
    return Outcome(done={promotion.ticker: _metadata(promotion) for promotion in result.promotions})


def remove_unneeded_files(project: Project, tickers: Sequence[str]) -> str:
    """Remove unneeded checkpoint files of some tickers; returns a line for the log."""
    try:
        removed = prune(project.database, project.checkpoint_folder, config=project.settings.registry, tickers=tickers)
    except FileNotRemoved as error:
        return f"unneeded checkpoint files are kept until the next attempt: {error}"
    return f"{counted(len(removed), 'unneeded checkpoint file')} removed"


def _metadata(promotion: Promotion) -> Metadata:
    rules = {rule.rule.replace("_", " "): rule.reason for rule in promotion.verdict.rules}
    return {
        "outcome": promotion.message,
        "passed the gate": promotion.verdict.passed,
        "active version": promotion.version or "none",
        "model card": listed(promotion_card(promotion)),
        **rules,
    }
