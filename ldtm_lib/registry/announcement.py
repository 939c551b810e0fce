"""What people are told of the gate: one message a run, about everything that is news."""

from collections.abc import Sequence

from ldtm_lib.alerts.protocol import Alert
from ldtm_lib.gate.card import card
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.registry.promotion import Promotion

KIND = "gate"


def gate_alert(promotions: Sequence[Promotion]) -> Alert | None:
    """The alert about those promotions and refusals that are news; None when nothing is.

    A promotion comes with its card, so that nobody hears of one without hearing what a coin would have done.
    """
    news = [promotion for promotion in promotions if promotion.is_news]
    if not news:
        return None
    promoted = [promotion for promotion in news if promotion.outcome == "promoted"]
    others = [promotion for promotion in news if promotion.outcome != "promoted"]
    refused = [promotion for promotion in others if not promotion.verdict.passed]
    lines = [f"{promotion.message}. {' '.join(card_of(promotion)[1:])}" for promotion in promoted]
    lines += [promotion.message for promotion in others]
    return Alert(
        kind=KIND,
        severity="warning" if refused else "info",
        title=f"The gate: {len(promoted)} promoted, {len(refused)} refused",
        lines=tuple(lines),
    )


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
