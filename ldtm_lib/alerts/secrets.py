"""What no message may hold: user and password of any address, and whatever the environment keeps secret."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from ldtm_lib.alerts.addresses import split

USER_AND_PASSWORD = re.compile(r"(?<=://)[^\s/@]+@")
SECRETS = re.compile(r"URL|PASSWORD|TOKEN|SECRET|ACCOUNT")
"""Variables of the environment whose values are in no message."""
SHORTEST = 6
"""Of a value; a shorter one is a word that any text may have."""
SHORTEST_OF_ADDRESS = 3
"""Of a password in an address."""


def without_secrets(text: str, environ: Mapping[str, str]) -> str:
    """A text without user and password of any address, and without what the environment keeps secret."""
    secrets = {secret for name, value in environ.items() if SECRETS.search(name) for secret in _secrets_in(value)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(secret, "***", text)
    return USER_AND_PASSWORD.sub("***@", text)


def _secrets_in(value: str) -> Iterator[str]:
    """Patterns of a value, each address in it, and user and password of each, as written and as meant.

    A user's name is one where it is a word of its own: `postgres` is also a part of words that are no secret.
    """
    for word in (value, *split(value)):
        if len(word) >= SHORTEST:
            yield re.escape(word)
        try:
            parts = urlsplit(word)
            user, password = parts.username or "", parts.password or ""
        except ValueError:
            continue
        if len(password) >= SHORTEST_OF_ADDRESS:
            yield from (re.escape(password), re.escape(unquote(password)))
        if len(user) >= SHORTEST:
            yield from (rf"(?<!\w){re.escape(name)}(?!\w)" for name in (user, unquote(user)))
