"""The channels that an installation has. Addresses are secrets: the environment holds them, never a file."""

from collections.abc import Mapping

from ldtm_lib.alerts.addresses import VARIABLE, addresses
from ldtm_lib.alerts.apprise_channel import Channel

__all__ = ["VARIABLE", "channels"]


def channels(environ: Mapping[str, str]) -> list[Channel]:
    """The channels that the environment names. Raises ConfigurationError for an address that is none."""
    urls = addresses(environ)
    return [Channel(url, source=f"address {number} of {len(urls)} in {VARIABLE}") for number, url in enumerate(urls, 1)]
