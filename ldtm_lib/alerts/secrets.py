"""What no message may hold: user and password of any address, and whatever the environment keeps secret."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ldtm_lib.alerts.addresses import VARIABLE, split

USER_AND_PASSWORD = re.compile(r"(?<=://)[^\s/@]+@")
SECRETS = re.compile(r"URL|PASS|TOKEN|SECRET|ACCOUNT|KEY", re.IGNORECASE)
"""Variables of the environment, and parameters of an address, whose values are in no message."""
OPEN_ADDRESS = re.compile(r"https?://[\w.-]+(:\d+)?/?")
"""An address that has nothing to hide: of a page that anybody may be sent to."""
SHORTEST = 6
"""Of a value; a shorter one is a word that any text may have."""
SHORTEST_OF_ADDRESS = 3
"""Of a password in an address."""
SHORTEST_TOKEN, SHORTEST_WORDLIKE_TOKEN = 8, 12
"""Of a part of a service's address, and of one in small letters, which may be a word of its path such as `webhooks`."""


def without_secrets(text: str, environ: Mapping[str, str]) -> str:
    """A text without user and password of any address, and without what the environment keeps secret.

    The longest first, and last what is one only beside what it belongs to.
    """
    secrets = {secret for name, value in environ.items() for secret in _secrets_in(name, value)}
    for secret in sorted(secrets, key=lambda pattern: (pattern.startswith("(?<"), -len(pattern))):
        text = re.sub(secret, "***", text)
    return USER_AND_PASSWORD.sub("***@", text)


def _secrets_in(name: str, value: str) -> Iterator[str]:
    """Patterns of a variable's value where it is kept secret, and of all that each address in it keeps so.

    A user's name is one where it is a word of its own: `postgres` is also a part of words that are no secret.
    """
    if not SECRETS.search(name) or OPEN_ADDRESS.fullmatch(value):
        return
    for word in (value, *split(value)):
        if len(word) >= SHORTEST:
            yield re.escape(word)
        try:
            parts = urlsplit(word)
            user, password = parts.username or "", parts.password or ""
        except ValueError:
            continue
        if name == VARIABLE:
            yield from map(re.escape, _tokens_in(parts))
        given = [value for name, value in parse_qsl(parts.query) if SECRETS.search(name)]
        for secret in dict.fromkeys((password, unquote(password), *given)):
            if len(secret) >= SHORTEST_OF_ADDRESS:
                yield _of_password(secret)
        if len(user) >= SHORTEST:
            yield from (rf"(?<!\w){re.escape(name)}(?!\w)" for name in (user, unquote(user)))


def _of_password(secret: str) -> str:
    """A pattern of a password: wherever it stands; of a short word, which any text may have, where it is one."""
    if len(secret) >= SHORTEST or not secret.isalpha():
        return re.escape(secret)
    return rf"(?<=[Pp]assword[ =:]){re.escape(secret)}(?!\w)|(?<=:){re.escape(secret)}(?=@)"


def _tokens_in(parts: SplitResult) -> Iterator[str]:
    """Parts of a service's address that nobody else may have, which that service's real address repeats.

    Where a host is named it stands between dots: all else before the path is a token.
    """
    for part in re.split(r"[/:@]", f"{parts.netloc}/{parts.path}"):
        is_wordlike = part.islower() and part.isalpha()
        if "." not in part and len(part) >= (SHORTEST_WORDLIKE_TOKEN if is_wordlike else SHORTEST_TOKEN):
            yield from (part, unquote(part))
