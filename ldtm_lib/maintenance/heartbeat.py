"""A sign of life to somebody outside, who tells people when it stays away: all else that tells them may be dead.

The address is a secret as a whole, as it is at healthchecks.io and its like: whoever knows it can feign life.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping

from ldtm_lib.errors import ConfigurationError, LdtmError
from ldtm_lib.url import web_host

VARIABLE = "LDTM_HEARTBEAT_URL"
TIMEOUT_SECONDS = 10.0


class HeartbeatNotTaken(LdtmError):
    """Nobody took a sign of life."""


def heartbeat_url(environ: Mapping[str, str]) -> str | None:
    """The address that the environment names, if it does. Raises ConfigurationError, without it, for what is none."""
    url = environ.get(VARIABLE, "").strip()
    if not url:
        return None
    if web_host(url) is None or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ConfigurationError(
            f"{VARIABLE} is no web address; write one such as https://hc-ping.com/<uuid>, or remove it"
        )
    return url


def send_heartbeat(url: str) -> None:
    """Ask for the address once. Raises HeartbeatNotTaken, without the address, for any answer but a good one."""
    request = urllib.request.Request(url, headers={"User-Agent": "ldtm"})
    try:
        with _opener().open(request, timeout=TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"it answered {error.code}"
    except TimeoutError:
        reason = f"no answer within {TIMEOUT_SECONDS:.0f} seconds"
    except (OSError, ValueError, http.client.HTTPException) as error:  # whose words may name the address
        kind = type(error.reason if isinstance(error, urllib.error.URLError) else error).__name__
        reason = f"no answer that is one ({kind})"
    raise HeartbeatNotTaken(f"the address in {VARIABLE} did not take it: {reason}") from None


def _opener() -> urllib.request.OpenerDirector:
    """One that follows no redirect: what stands elsewhere, such as a page to log in on, has not taken it."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
    ):
        opener.add_handler(handler())
    return opener
