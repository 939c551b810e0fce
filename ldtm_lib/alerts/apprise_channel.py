"""Channels through apprise: mail, chat, push, webhooks, each by an address that is a secret as a whole.

Of an address nothing is shown but its scheme, and its host where that is a host: `tgram://` and others have a token in
its place. What apprise itself says of an attempt is read here and kept from every log.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.common import OverflowMode
from apprise.plugins.base import NotifyBase
from apprise.result import AppriseResult, AppriseResultStatus

from ldtm_lib.alerts.troubles import Severity
from ldtm_lib.errors import AlertNotDelivered, ConfigurationError

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
SEND_SECONDS = 15.0
"""The longest that one message may take in one channel, whatever the other end does."""
LONGEST_ENDING = 40
"""Characters that the last line of a message that was cut takes."""
MARGIN = 50
"""Characters of a message that are left to what apprise puts around it."""
TYPES: Mapping[Severity, NotifyType] = {
    "info": NotifyType.INFO,
    "warning": NotifyType.WARNING,
    "error": NotifyType.FAILURE,
}
NEVER_REACHED = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|SSLError|Connection refused|unreachable|"
    r"Name or service not known|certificate verify failed|Authentication"
)
"""What the system says of an attempt that ended before the message was on its way."""
ANSWERED = re.compile(r"error=(\d{3})\b")


class NoAnswer(AlertNotDelivered):
    """A channel did not say whether it took an alert: it may have come."""


class Channel:
    """One address that takes alerts."""

    def __init__(self, url: str, *, source: str) -> None:
        """`source` names the setting that the address comes from. Raises ConfigurationError for what is no address."""
        _keep_quiet()
        plugin = Apprise.instantiate(url, asset=_asset())  # pyright: ignore[reportUnknownMemberType] apprise's dicts are bare
        if plugin is None:
            raise ConfigurationError(
                f"{source} is no address that apprise understands; write one such as jsons://hooks.example.org/..., "
                "mailtos://... or ntfys://... (all are listed at https://appriseit.com), or remove it"
            )
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, CONNECT_SECONDS)
        plugin.socket_read_timeout = min(plugin.socket_read_timeout, READ_SECONDS)
        if plugin.overflow_mode is OverflowMode.UPSTREAM:
            plugin.overflow_mode = OverflowMode.TRUNCATE
        self._plugin = plugin
        self.key = hashlib.sha256(url.encode()).hexdigest()
        """What tells it apart from others, and does not tell where it is."""
        self.shown_as = _shown_as(url, plugin)
        """What may be shown of it."""

    def __repr__(self) -> str:
        return f"Channel({self.shown_as})"

    def send(self, *, title: str, body: str, severity: Severity) -> None:
        """Deliver one message. Raises AlertNotDelivered, and NoAnswer where it may have come all the same."""
        service = Apprise(asset=_asset())
        service.add(self._plugin)  # pyright: ignore[reportUnknownMemberType]
        result = service.notify(  # pyright: ignore[reportUnknownMemberType]
            title=title,
            body=_fitting(body, self._room_beside(title)),
            notify_type=TYPES[severity],
            body_format=NotifyFormat.TEXT,
            log_level=logging.DEBUG,
        )
        if result.status is not AppriseResultStatus.SUCCESS:
            raise _failure(self.shown_as, result)

    def _room_beside(self, title: str) -> int:
        """Characters that a body may have; a title without a field of its own is a part of it."""
        shares = self._plugin.title_maxlen <= 0 or self._plugin.overflow_amalgamate_title
        return self._plugin.body_maxlen - (len(title) if shares else 0) - MARGIN


def _fitting(body: str, longest: int) -> str:
    """The whole lines of a body that a channel has room for, and how many more there are."""
    if len(body) <= longest:
        return body
    lines = body.splitlines()
    while lines and len("\n".join(lines)) + LONGEST_ENDING > longest:
        lines.pop()
    return "\n".join([*lines, f"and {len(body.splitlines()) - len(lines)} lines more, on the pages"])


def _asset() -> AppriseAsset:
    """How apprise is to behave: one attempt, bounded in time, nothing kept on disk, no redirect followed.

    What stands elsewhere, such as a page to log in on, has not taken the message.
    """
    return AppriseAsset(
        app_id="LDTM",
        app_desc="LDTM alerts",
        async_mode=False,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        service_timeout=SEND_SECONDS,
    )


def _keep_quiet() -> None:
    """Keep what apprise and the HTTP client below it say from every log of this process: it may hold addresses."""
    log = logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def _shown_as(url: str, plugin: NotifyBase) -> str:
    scheme = url.partition("://")[0].lower()
    has_host = scheme in {"http", "https"} or all("{host}" in template for template in plugin.templates)
    try:
        parts = urlsplit(url)
        host = parts.hostname and parts.hostname + (f":{parts.port}" if parts.port else "")
    except ValueError:
        host = None
    return f"{scheme}://{host if has_host and host else '***'}"


def _failure(shown_as: str, result: AppriseResult) -> AlertNotDelivered:
    """The error of an attempt, in words of ours: apprise's own may hold the address."""
    said = "\n".join(entry.message for entry in result.logs())
    if answered := ANSWERED.search(said):
        return AlertNotDelivered(f"{shown_as} answered {answered[1]}")
    if NEVER_REACHED.search(said):
        return AlertNotDelivered(f"{shown_as} could not be reached")
    if result.status is AppriseResultStatus.TIMEOUT or "timed out" in said.lower():
        return NoAnswer(f"{shown_as} did not answer in time")
    return NoAnswer(f"{shown_as} did not take it")
