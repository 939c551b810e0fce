"""How a run says in its log what the alert sensor will tell people of."""

import logging
from collections.abc import Mapping, Sequence

import dagster as dg

from ldtm_lib.alerts.alert import Severity, Trouble

LEVELS: Mapping[Severity, int] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def tell(context: dg.AssetExecutionContext, troubles: Sequence[Trouble]) -> None:
    """Say in the log of a run what the transaction that it is about has put on record for people to hear."""
    for trouble in troubles:
        context.log.log(LEVELS[trouble.severity], f"{trouble.subject}: {trouble.summary}")
