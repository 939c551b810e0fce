"""Heartbeat to an external monitor, which notifies people when it stops: LDTM cannot report its own outage.

The address is secret as a whole, as at healthchecks.io and similar services: anybody who knows it can fake a heartbeat.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping

from ldtm_lib.errors import ConfigurationError, LdtmError
from ldtm_lib.url import web_host

HEARTBEAT_VARIABLE = "LDTM_HEARTBEAT_URL"
TIMEOUT_SECONDS = 10.0


class HeartbeatNotAccepted(LdtmError):
    """The monitor did not accept a heartbeat."""


def heartbeat_url(environ: Mapping[str, str]) -> str | None:
    """The address that the environment names, if any. Raises ConfigurationError, without it, if it is invalid."""
    url = environ.get(HEARTBEAT_VARIABLE, "").strip()
    if not url:
        return None
    if web_host(url) is None or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ConfigurationError(
            f"{HEARTBEAT_VARIABLE} is not a web address; write one such as https://hc-ping.com/<uuid>, or remove it"
        )
    return url


def send_heartbeat(url: str) -> None:
    """Request the address once. Raises HeartbeatNotAccepted, without the address, for any failure."""
    request = urllib.request.Request(url, headers={"User-Agent": "ldtm"})
    try:
        with _opener().open(request, timeout=TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"it answered {error.code}"
    except TimeoutError:
        reason = f"no answer within {TIMEOUT_SECONDS:.0f} seconds"
    except (OSError, ValueError, http.client.HTTPException) as error:  # the messages may name the address
        kind = type(error.reason if isinstance(error, urllib.error.URLError) else error).__name__
        reason = f"no valid answer ({kind})"
    raise HeartbeatNotAccepted(f"the address in {HEARTBEAT_VARIABLE} did not accept it: {reason}") from None


def _opener() -> urllib.request.OpenerDirector:
    """An opener that follows no redirect: its target, such as a login page, has not accepted the heartbeat."""
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
