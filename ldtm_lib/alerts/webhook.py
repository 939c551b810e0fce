"""Alerts as JSON, posted to a web address. Its path is a secret: whoever knows it may post there."""

import http.client
import json
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ldtm_lib.alerts.protocol import Alert
from ldtm_lib.errors import AlertNotDelivered, ConfigurationError
from ldtm_lib.web_address import web_host

TIMEOUT_SECONDS = 5.0


class Webhook:
    """A web address that takes alerts. Of the address only scheme and host are ever shown."""

    def __init__(self, url: str, *, source: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """`source` names the setting that the address comes from. Raises ConfigurationError for what is no address."""
        host = web_host(url)
        if host is None or any(character.isspace() for character in url):
            raise ConfigurationError(
                f"{source} is not a web address; write one such as https://hooks.example.org/..., or unset it"
            )
        self._url = url
        self._host = host
        self._timeout = timeout_seconds

    @property
    def name(self) -> str:
        """Where it goes, without the secret part."""
        return f"webhook {self._host}"

    def send(self, alert: Alert) -> None:
        """Post one alert; any answer of the 200s is a delivery. Raises AlertNotDelivered."""
        body = json.dumps(alert.as_dict()).encode()
        request = Request(self._url, data=body, headers={"Content-Type": "application/json"}, method="POST")
        try:
            with build_opener(_Stay).open(request, timeout=self._timeout):
                pass
        except HTTPError as error:
            error.close()
            raise AlertNotDelivered(f"{self.name} answered {error.code} {error.reason}") from None
        except (URLError, OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise AlertNotDelivered(f"{self.name} did not take the alert: {_shown(reason)}") from None


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: what stands elsewhere, such as a page to log in on, has not taken the alert."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """None, so that the redirect is an error with its own status."""


def _shown(reason: object) -> str:
    """What went wrong: the system's own words, or only the kind of an error whose text could hold the path."""
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return "it did not answer in time" if isinstance(reason, TimeoutError) else type(reason).__name__
