"""The gate: which candidate becomes the active model of its ticker, and why the others do not."""

import logging
from collections.abc import Sequence

from ldtm_assets.recording import Metadata, Outcome
from ldtm_lib.project import Project
from ldtm_lib.registry.judgement import judge_and_promote
from ldtm_lib.registry.promotion import Promotion


def pass_the_gate(project: Project, tickers: Sequence[str], log: logging.Logger) -> tuple[Outcome, list[Promotion]]:
    """Judge and promote some tickers in one transaction; a ticker that is refused is said with its reasons."""
    with project.database.transaction() as conn:
        promotions = judge_and_promote(conn, project.checkpoint_folder, tickers, project.settings)
    for promotion in promotions:
        if promotion.is_news:
            (log.info if promotion.verdict.passed else log.warning)(promotion.message)
    return Outcome(done={promotion.ticker: _metadata(promotion) for promotion in promotions}), promotions


def _metadata(promotion: Promotion) -> Metadata:
    rules = {rule.rule.replace("_", " "): rule.reason for rule in promotion.verdict.rules}
    return {
        "outcome": promotion.outcome,
        "passed the gate": promotion.verdict.passed,
        "active version": promotion.version or "none",
        **rules,
    }
