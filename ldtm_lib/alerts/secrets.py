"""Secrets of the environment: the channel addresses, and their removal from every text that people read.

A channel address is secret as a whole: many services put their token into it.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

ALERT_VARIABLE = "LDTM_ALERT_URLS"
SEPARATOR = re.compile(r"\s*,(?=\s*[A-Za-z][\w+.-]*://)|\s+")
"""White space, or a comma before another address: an address may contain commas."""
USER_AND_PASSWORD = re.compile(r"(?<=://)[^\s/@]+@")
SECRETS = re.compile(r"URL|PASS|TOKEN|SECRET|ACCOUNT|KEY", re.IGNORECASE)
"""Environment variables, and parameters of an address, whose values never appear in a text."""
OPEN_ADDRESS = re.compile(r"https?://[\w.-]+(:\d+)?/?")
"""An address without a secret part: a plain web page."""
SHORTEST = 6
"""Fewest characters of a secret value; a shorter one may be an ordinary word in any text."""
SHORTEST_OF_ADDRESS = 3
"""Fewest characters of a password in an address."""
SHORTEST_TOKEN, SHORTEST_WORDLIKE_TOKEN = 8, 12
"""Fewest characters of a token in a channel address, and of one in small letters, which may be a word (`webhooks`)."""


def alert_urls(environ: Mapping[str, str]) -> list[str]:
    """The channel addresses that the environment names, each once."""
    return split_urls(environ.get(ALERT_VARIABLE, ""))


def split_urls(text: str) -> list[str]:
    """The addresses in a text, each once."""
    return list(dict.fromkeys(url for url in SEPARATOR.split(text) if url))


def without_secrets(text: str, environ: Mapping[str, str]) -> str:
    """Remove user and password of every address from a text, and every secret value of the environment.

    Longer secrets are replaced first, and patterns that depend on the text around a secret last.
    """
    secrets = {secret for name, value in environ.items() for secret in _secrets_in(name, value)}
    for secret in sorted(secrets, key=lambda pattern: (pattern.startswith("(?<"), -len(pattern))):
        text = re.sub(secret, "***", text)
    return USER_AND_PASSWORD.sub("***@", text)


def _secrets_in(name: str, value: str) -> Iterator[str]:
    """Patterns for the value of a variable with a secret name, and for the secret parts of each address in it.

    A user name matches only as a word of its own: `postgres` is also part of words that are not secret.
    """
    if not SECRETS.search(name) or OPEN_ADDRESS.fullmatch(value):
        return
    for word in (value, *split_urls(value)):
        if len(word) >= SHORTEST:
            yield re.escape(word)
        try:
            parts = urlsplit(word)
            user, password = parts.username or "", parts.password or ""
        except ValueError:
            continue
        if name == ALERT_VARIABLE:
            yield from map(re.escape, _tokens_in(parts))
        given = [value for name, value in parse_qsl(parts.query) if SECRETS.search(name)]
        for secret in dict.fromkeys((password, unquote(password), *given)):
            if len(secret) >= SHORTEST_OF_ADDRESS:
                yield _of_password(secret)
        if len(user) >= SHORTEST:
            yield from (rf"(?<!\w){re.escape(name)}(?!\w)" for name in (user, unquote(user)))


def _of_password(secret: str) -> str:
    """A pattern that matches a password anywhere, or, if it is a short word, only where a password stands."""
    if len(secret) >= SHORTEST or not secret.isalpha():
        return re.escape(secret)
    return rf"(?<=[Pp]assword[ =:]){re.escape(secret)}(?!\w)|(?<=:){re.escape(secret)}(?=@)"


def _tokens_in(parts: SplitResult) -> Iterator[str]:
    """Tokens in a channel address; the URL that apprise requests contains them too.

    A part with a dot is a host name; every other part that is long enough counts as a token.
    """
    for part in re.split(r"[/:@]", f"{parts.netloc}/{parts.path}"):
        is_wordlike = part.islower() and part.isalpha()
        if "." not in part and len(part) >= (SHORTEST_WORDLIKE_TOKEN if is_wordlike else SHORTEST_TOKEN):
            yield from (part, unquote(part))
