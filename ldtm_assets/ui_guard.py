"""Access rules for Dagster's webserver, which has none: the hosts it answers to, pages of other sites, a token."""

import hmac
import ipaddress
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.settings import UiConfig
from ldtm_lib.wording import counted

TOKEN_FILE = "ui-token"
TOKEN_PARAMETER = "token"
MIN_TOKEN_LENGTH = 32
COOKIE_SECONDS = 30 * 24 * 3600
WITHOUT_TOKEN = frozenset(["/server_info"])
"""Paths that answer without a token: the versions of Dagster, for the health check."""
HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>\d+))?")
MISSING_TOKEN = (
    "This UI needs the token of its installation. <code>ldtm up</code> prints a link with it. "
    'If you have opened that link and came here from another site, <a href="">continue</a>.'
)


def ui_token(home: Path) -> str:
    """The token in the state folder of an installation; created at the first call, readable only for its owner.

    Raises ConfigurationError if others may read the file, or if it holds no token.
    """
    path = home / TOKEN_FILE
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with open(file, "w") as out:
            out.write(f"{secrets.token_urlsafe(MIN_TOKEN_LENGTH)}\n")
    remedy = "remove it, then `ldtm down` and `ldtm up` create another"
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(f"other users may read {path}, which holds the token of the UI; {remedy}")
    token = path.read_text().strip()
    if len(token) < MIN_TOKEN_LENGTH:
        raise ConfigurationError(
            f"{path} holds {counted(len(token), 'character')}, too few for a token of the UI; {remedy}"
        )
    return token


def login_link(address: str, home: Path) -> str:
    """The URL of the UI that logs a browser in."""
    return f"{address}/?{TOKEN_PARAMETER}={ui_token(home)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UiGuard:
    """ASGI middleware that refuses requests before Dagster sees them."""

    app: ASGIApp
    config: UiConfig
    token: str | None
    """Token that a client must send; None if anyone who can reach the webserver may use it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request or a websocket to Dagster, or refuse it: a request with the reason, a websocket with 403."""
        answer = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if answer and scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await (answer or self.app)(scope, receive, send)

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that does not reach Dagster; None for one that does."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        found = HOST.fullmatch(host)
        if found is None or not self._is_own(found["name"]):
            return _refused(
                421,
                f"the UI does not answer to the host {host!r}: set url of the section [ui] to the address by which you "
                "reach it, and restart Dagster",
            )
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return _refused(403, f"a page of {origin} may not use the UI; open http://{host} instead")
        if site not in ("same-origin", "none") and not _is_visit(scope, headers):
            return _refused(403, f"a page of another site ({site}) may not use the UI; open http://{host} instead")
        if scope["type"] == "http":
            if scope["method"] in ("GET", "HEAD"):
                if scope["path"] == "/graphql":
                    return _refused(405, "GraphQL requires POST with the content type application/json")
            elif headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return _refused(415, f"a {scope['method']} needs the content type application/json")
        return self._login(HTTPConnection(scope), f"ldtm_ui_{found['port'] or ''}")

    def _is_own(self, name: str) -> bool:
        """True if a host is one of the UI's. Every address is: no other site can have a page under an address."""
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in ("localhost", self.config.host.lower(), urlsplit(self.config.url).hostname)
        return True

    def _login(self, conn: HTTPConnection, cookie: str) -> Response | None:
        """The answer to a client without the token, and to one that brings it with a link; None for a known client.

        Cookies of all ports of a host are sent to each of them, so the name of the cookie holds the port.
        """
        if self.token is None or conn.url.path in WITHOUT_TOKEN:
            return None
        if _are_equal(conn.query_params.get(TOKEN_PARAMETER), self.token):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(cookie, self.token, COOKIE_SECONDS, httponly=True, samesite="strict")
            return answer
        scheme, _, bearer = conn.headers.get("authorization", "").partition(" ")
        if _are_equal(conn.cookies.get(cookie), self.token) or (
            scheme.lower() == "bearer" and _are_equal(bearer, self.token)
        ):
            return None
        return HTMLResponse(f"{MISSING_TOKEN}\n", 401, {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"})


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """True if a browser navigates to a page, as by a link in a notification."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _are_equal(given: str | None, token: str) -> bool:
    """Compare a token in constant time."""
    return given is not None and hmac.compare_digest(given.encode(), token.encode())


def _refused(status: int, reason: str) -> Response:
    return PlainTextResponse(f"Refused: {reason}.\n", status)
