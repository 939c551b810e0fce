"""The channels that an installation has. Addresses are secrets: the environment holds them, never a file."""

import re
from collections.abc import Mapping

from ldtm_lib.alerts.apprise_channel import Channel

VARIABLE = "LDTM_ALERT_URLS"
BETWEEN = re.compile(r"\s*,(?=\s*[A-Za-z][\w+.-]*://)|\s+")
"""White space, or a comma before another address: addresses may have commas of their own."""


def channels(environ: Mapping[str, str]) -> list[Channel]:
    """The channels that the environment names. Raises ConfigurationError for an address that is none."""
    urls = list(dict.fromkeys(url for url in BETWEEN.split(environ.get(VARIABLE, "")) if url))
    return [Channel(url, source=f"address {number} of {len(urls)} in {VARIABLE}") for number, url in enumerate(urls, 1)]
