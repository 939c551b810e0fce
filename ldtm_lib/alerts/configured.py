"""The channels that an installation has besides its log: secrets come from the environment, never from a file."""

from collections.abc import Mapping

from ldtm_lib.alerts.protocol import Channel
from ldtm_lib.alerts.webhook import Webhook

WEBHOOK_VARIABLE = "LDTM_ALERT_WEBHOOK"


def channels(environ: Mapping[str, str]) -> list[Channel]:
    """The channels that the environment names. Raises ConfigurationError for an address that is none."""
    url = environ.get(WEBHOOK_VARIABLE)
    return [Webhook(url, source=WEBHOOK_VARIABLE)] if url else []
