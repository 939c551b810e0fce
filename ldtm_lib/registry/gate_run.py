"""One run of the gate: judge the newest networks, promote those that pass, and raise an alert for each change."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ldtm_lib.alerts.alert import Alert, partition_link, raise_alerts
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Connection
from ldtm_lib.gate.model_card import model_card
from ldtm_lib.gate.universe import Universe
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.registry.configurations import record_configuration
from ldtm_lib.registry.judgement import judge_newest
from ldtm_lib.registry.promotion import Promotion, promote
from ldtm_lib.settings import Settings

KIND = "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The result of one run of the gate."""

    promotions: tuple[Promotion, ...]
    """One per ticker, in the order given."""
    universe: Universe
    alerts: tuple[Alert, ...]


def run_gate(
    conn: Connection,
    folder: Path,
    tickers: Sequence[str],
    settings: Settings,
    *,
    degraded: Collection[int],
    run_id: str,
) -> GateResult:
    """Judge the newest network of every ticker, promote those that pass, and put alerts about changes on record.

    All in the caller's one transaction, in a fixed number of statements. `folder` holds the checkpoint files, and
    `degraded` the checkpoints of the active models that were found degraded.
    """
    judgement = judge_newest(conn, tickers, settings, degraded=degraded)
    record_configuration(conn, settings)
    promotions = promote(conn, folder, judgement.decisions, architecture=settings.architecture)
    alerts = gate_alerts(promotions, run_id=run_id, session=last_closed_session(conn))
    raise_alerts(conn, alerts)
    return GateResult(promotions=tuple(promotions), universe=judgement.universe, alerts=tuple(alerts))


def gate_alerts(promotions: Sequence[Promotion], *, run_id: str, session: date) -> list[Alert]:
    """One alert for each new promotion or refusal, with its reasons and figures.

    The alert of a promotion contains the model card, so that it states how often a fair coin would have passed.
    """
    return [
        Alert(
            key=f"{KIND}/{run_id}/{promotion.ticker}",
            kind=KIND,
            severity="info" if promotion.verdict.passed else "warning",
            session=session,
            subject=promotion.ticker,
            summary=_summary(promotion),
            link=partition_link("registry", promotion.ticker),
            is_news=True,
        )
        for promotion in promotions
        if promotion.is_news
    ]


def _summary(promotion: Promotion) -> str:
    said = promotion.message.removeprefix(f"{promotion.ticker} ")
    if promotion.outcome != "promoted":
        return said
    return f"{said}. {' '.join(promotion_card(promotion)[1:])}"


def promotion_card(promotion: Promotion) -> list[str]:
    """The model card of a ticker's newest verdict, with its version if that network is the active one.

    If a lifecycle action decommissioned the network since, the card begins with that action.
    """
    if promotion.is_out_of_service:
        return decommissioned_card(promotion.message, promotion.ticker, promotion.verdict)
    is_of_active = promotion.outcome in {"promoted", "already promoted"}
    return model_card(promotion.ticker, promotion.version if is_of_active else None, promotion.verdict)


def decommissioned_card(action: str, ticker: str, verdict: Verdict) -> list[str]:
    """The model card of a decommissioned network; the lifecycle action is its first line."""
    return [f"{action.rstrip('.')}.", *model_card(ticker, None, verdict)[1:]]
