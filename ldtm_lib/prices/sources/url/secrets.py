"""Secrets of the `url` source: values of the environment variables that it names, and their removal from texts."""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.settings import UrlConfig

HIDDEN = "***"
SHORTEST = 3
"""Minimum length of a value that is removed from texts; shorter ones occur in many words."""
CLIENT_LOGGER = "urllib3.connectionpool"
"""The logger that writes whole addresses at the level DEBUG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Values by the name of their variable."""

    values: Mapping[str, str] = field(repr=False)

    def removed_from(self, text: str) -> str:
        """The text with HIDDEN instead of the values, plain or quoted as in a URL."""
        spellings = {
            spelling
            for value in self.values.values()
            if len(value) >= SHORTEST
            for spelling in (value, quote(value, safe=""), quote(value), quote_plus(value))
        }
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, HIDDEN)
        return text

    def are_in(self, text: str) -> bool:
        """Return whether a text contains any of the values."""
        return self.removed_from(text) != text

    @contextmanager
    def removed_from_log(self) -> Generator[None]:
        """Remove the values from the log of the HTTP client inside of the context."""

        def clean(record: logging.LogRecord) -> bool:
            record.msg, record.args = self.removed_from(record.getMessage()), ()
            return True

        logger = logging.getLogger(CLIENT_LOGGER)
        logger.addFilter(clean)
        try:
            yield
        finally:
            logger.removeFilter(clean)


def read_secrets(config: UrlConfig, environ: Mapping[str, str]) -> Secrets:
    """The values that the settings name; raises ConfigurationError for those that are missing or cannot be sent."""
    if missing := [name for name in config.variables if not environ.get(name, "").strip()]:
        raise ConfigurationError(
            f"[url] names environment variables that are not set: {', '.join(missing)}; "
            f"export {missing[0]}=... where LDTM runs, and restart it with `ldtm down && ldtm up`"
        )
    values = {name: environ[name].strip() for name in config.variables}
    if wrong := [name for name, value in values.items() if not (value.isascii() and value.isprintable())]:
        raise ConfigurationError(
            f"the environment variable {wrong[0]}, which [url] names, must hold printable ASCII only; set it again"
        )
    return Secrets(values=values)
