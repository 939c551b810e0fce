"""The channels that an installation has. Addresses are secrets: the environment holds them, never a file."""

from collections.abc import Mapping
from dataclasses import dataclass

from ldtm_lib.alerts.addresses import VARIABLE, addresses
from ldtm_lib.alerts.apprise_channel import Channel
from ldtm_lib.errors import ConfigurationError

__all__ = ["VARIABLE", "Configured", "channels", "configured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What the addresses of an environment came to."""

    channels: tuple[Channel, ...]
    refused: tuple[str, ...]
    """Why an address is none, for each such one; the others take messages all the same."""


def configured(environ: Mapping[str, str]) -> Configured:
    """The channels that the environment names, and what is wrong with the rest of its addresses."""
    urls = addresses(environ)
    found, refused = list[Channel](), list[str]()
    for number, url in enumerate(urls, 1):
        try:
            found.append(Channel(url, source=f"address {number} of {len(urls)} in {VARIABLE}"))
        except ConfigurationError as error:
            refused.append(str(error))
    return Configured(channels=tuple(found), refused=tuple(refused))


def channels(environ: Mapping[str, str]) -> list[Channel]:
    """The channels that the environment names. Raises ConfigurationError for an address that is none."""
    found = configured(environ)
    if found.refused:
        raise ConfigurationError(found.refused[0])
    return list(found.channels)
