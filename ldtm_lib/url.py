"""Web addresses and hosts, for settings that name one."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from string import Formatter
from typing import Self
from urllib.parse import parse_qsl, quote, urlsplit

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
"""The name of an environment variable; lower case is refused, so that a key in place of the name is noticed."""
SECRET_PARAMETER = re.compile(r"(key|token|secret|password)$", re.IGNORECASE)
PLACES = "its placeholders are {ticker}, {first}, {last}, {first:%Y%m%d} and {env:NAME}; write {{ and }} for braces"


def web_host(url: str) -> str | None:
    """Scheme, host and port of a web address, without its path, which may be a secret; None for any other text."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not url.isascii():
        return None
    return f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")


def is_loopback(host: str) -> bool:
    """True if an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlTemplate:
    """A web address with placeholders for a ticker, two dates, and values of environment variables."""

    parts: tuple[tuple[str, str, str], ...]
    """Literal text, the placeholder after it (empty at the end), and its format: a date's, or a variable."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The template in a text; raises ValueError, without values of the text, with the problem and the remedy.

        The placeholders are {ticker}, {first} and {last} (YYYY-MM-DD, or as {first:%Y%m%d} says), and {env:NAME}.
        """
        try:
            fields = list(Formatter().parse(text))
        except ValueError:
            raise ValueError(f"its braces do not match; {PLACES}") from None
        parts = tuple((literal, field or "", spec or "") for literal, field, spec, _ in fields)
        for _, field, spec in parts:
            if field not in ("", "ticker", "first", "last", "env"):
                raise ValueError(f"{{{field}}} is not a placeholder; {PLACES}")
            if field == "env" and not VARIABLE.fullmatch(spec):
                raise ValueError(
                    f"{{env:...}} must name an environment variable, such as {{env:LDTM_PRICES_KEY}}; {PLACES}"
                )
            if (field == "ticker" and spec) or (field in ("first", "last") and spec and "%" not in spec):
                raise ValueError(f"{{{field}:{spec}}} has an invalid format; {PLACES}")
        if any(field == "" for _, field, _, _ in fields):
            raise ValueError(f"{{}} is not a placeholder; {PLACES}")
        if any(conversion for *_, conversion in fields):
            raise ValueError(f"a placeholder cannot be converted by `!`; {PLACES}")
        if "ticker" not in (field for _, field, _ in parts):
            raise ValueError("it has no {ticker}; write {ticker} where the ticker belongs")
        host, slash, _ = parts[0][0].partition("://")[2].partition("/")
        if web_host(parts[0][0]) is None or not (slash or "?" in host):
            raise ValueError("it must begin with http:// or https://, a host and a path")
        if "@" in host:
            raise ValueError("it must not hold a user or a password; name them in url.headers")
        template = cls(parts=parts)
        template._refuse_literal_secrets()
        return template

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it names, each once."""
        return tuple(dict.fromkeys(spec for _, field, spec in self.parts if field == "env"))

    @property
    def host(self) -> str:
        """Scheme, host and port."""
        return web_host(self.parts[0][0]) or ""

    def fill(self, *, ticker: str, first: date, last: date, environ: Mapping[str, str]) -> str:
        """The address for a ticker and two dates; every value is quoted."""
        dates = {"first": first, "last": last}

        def value(field: str, spec: str) -> str:
            if field in dates:
                return format(dates[field], spec or "%Y-%m-%d")
            return environ[spec] if field == "env" else ticker

        return "".join(
            literal + (quote(value(field, spec), safe="") if field else "") for literal, field, spec in self.parts
        )

    def _refuse_literal_secrets(self) -> None:
        """Refuse a key that is written in the file, without showing it."""
        marked = "".join(literal + ("\0" if field else "") for literal, field, _ in self.parts)
        for name, value in parse_qsl(urlsplit(marked.replace("\0", "%00")).query):
            if SECRET_PARAMETER.search(name) and "\0" not in value:
                raise ValueError(
                    f"the value of its parameter {name} is in the file; set an environment variable to it, such as "
                    f"LDTM_PRICES_KEY, and write {name}={{env:LDTM_PRICES_KEY}}"
                )
