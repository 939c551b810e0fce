"""Where messages go: the addresses that the environment names. Each is a secret as a whole."""

import re
from collections.abc import Mapping

VARIABLE = "LDTM_ALERT_URLS"
BETWEEN = re.compile(r"\s*,(?=\s*[A-Za-z][\w+.-]*://)|\s+")
"""White space, or a comma before another address: addresses may have commas of their own."""


def addresses(environ: Mapping[str, str]) -> list[str]:
    """The addresses that the environment names, each once."""
    return split(environ.get(VARIABLE, ""))


def split(text: str) -> list[str]:
    """The addresses in a text, each once."""
    return list(dict.fromkeys(url for url in BETWEEN.split(text) if url))
