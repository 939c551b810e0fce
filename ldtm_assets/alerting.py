"""How a run tells people something: in its log, and through whatever the environment names."""

import os

import dagster as dg

from ldtm_lib.alerts.configured import channels
from ldtm_lib.alerts.log_lines import LogLines
from ldtm_lib.alerts.protocol import Alert, Channel, send
from ldtm_lib.errors import ConfigurationError


class AlertChannels(dg.ConfigurableResource):
    """The channels that an installation has. Addresses are secrets: they stay in the environment of the process."""

    def open(self) -> list[Channel]:
        """Those besides the log. Raises ConfigurationError for an address that is none."""
        return channels(os.environ)


def tell(context: dg.AssetExecutionContext, alerts: AlertChannels, alert: Alert | None) -> None:
    """Send an alert, if there is one: to the log first, then through every channel.

    What cannot be delivered is said in the log and stops nothing: what the alert is about has happened already.
    """
    if alert is None:
        return
    LogLines(context.log).send(alert)
    try:
        failures = [failure.reason for failure in send(alert, alerts.open())]
    except ConfigurationError as error:
        failures = [str(error)]
    for reason in failures:
        context.log.warning(f"an alert was not delivered: {reason}")
