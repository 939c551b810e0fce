"""Alerts of the gate: one for each ticker whose promotion or refusal is news."""

from collections.abc import Sequence
from datetime import date

from ldtm_lib.alerts.alert import Alert, partition_link
from ldtm_lib.gate.model_card import card
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.registry.promotion import Promotion

KIND = "gate"


def gate_alerts(promotions: Sequence[Promotion], *, run_id: str, session: date) -> list[Alert]:
    """Alerts for the promotions and refusals that are news, each with its reasons and figures.

    The alert of a promotion includes the model card, and so the figures of a coin for comparison.
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
    return f"{said}. {' '.join(card_of(promotion)[1:])}"


def card_of(promotion: Promotion) -> list[str]:
    """The newest verdict on a ticker in plain words, as the card of its version where it is the active one's.

    Where that network was taken out by an order since, the card begins with the order.
    """
    if promotion.is_out_of_service:
        return card_after(promotion.message, promotion.ticker, promotion.verdict)
    is_of_active = promotion.outcome in {"promoted", "already promoted"}
    return card(promotion.ticker, promotion.version if is_of_active else None, promotion.verdict)


def card_after(order: str, ticker: str, verdict: Verdict) -> list[str]:
    """The card of a network that passed and was taken out by an order since, which is its first line."""
    return [f"{order.rstrip('.')}.", *card(ticker, None, verdict)[1:]]
