"""Channels through apprise: mail, chat, push, webhooks, each by an address that is a secret as a whole.

Of an address nothing is shown but its scheme, and its host where that is a host: `tgram://` and others have a token in
its place. What apprise itself says of an attempt is read here and kept from every log.
"""

import hashlib
import json
import logging
import re
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.common import OverflowMode
from apprise.conversion import convert_between  # pyright: ignore[reportUnknownVariableType]
from apprise.plugins.base import NotifyBase
from apprise.result import AppriseResult, AppriseResultStatus

from ldtm_lib.alerts.alert import Severity
from ldtm_lib.errors import AlertNotDelivered, ConfigurationError

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
SEND_SECONDS = 15.0
"""The longest that one message may take in one channel, whatever the other end does."""
MARGIN = 50
"""Characters of a message that are left to what apprise puts around it."""
MOST_BYTES: Mapping[str, int] = {"ntfy": 4000, "ntfys": 4000}
"""What a service takes less of than apprise believes, by scheme, in bytes: a server of ntfy makes a message above its
`message-size-limit` of 4,096 an attachment, and refuses it where it keeps none (https://docs.ntfy.sh/config)."""
JSON_PER_BYTE = 1.8
"""Characters of JSON that such a service takes for each: apprise makes an attachment of more than 8,000 in all."""
LONGEST_ESCAPE = 8
"""Characters that one of a text may become in HTML, before a service's own dialect makes fewer of them again."""
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
SYSTEM_SAID = re.compile(r"Socket Exception:(?:.*\(Caused by)?(.*)", re.DOTALL)
"""The system's own words: before them may stand the address, with whatever a service wants in it."""
ANSWERED = re.compile(r"error=(\d{3})\b")
TOO_LONG = re.compile(r" answered 4(00|13)$")
"""Of a failure: the channel may take a shorter message."""


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
        scheme = url.partition("://")[0].lower()
        self._format = plugin.resolve_format(NotifyFormat.TEXT)
        self._counts_bytes = scheme in MOST_BYTES
        self._room = MOST_BYTES.get(scheme, plugin.body_maxlen)
        if self._format is NotifyFormat.HTML:
            with suppress(AttributeError):  # of services that reckon it themselves, none of which knows HTML
                plugin.body_maxlen *= LONGEST_ESCAPE  # apprise cuts before the dialect; what is sent is measured here
        self._plugin = plugin
        self.key = hashlib.sha256(url.encode()).hexdigest()
        """What tells it apart from others, and does not tell where it is."""
        self.shown_as = _shown_as(url, plugin)
        """What may be shown of it."""

    def __repr__(self) -> str:
        return f"Channel({self.shown_as})"

    def send(self, *, title: str, body: str, severity: Severity, is_short: bool = False) -> None:
        """Deliver one message, or of its body no more than its main link.

        Raises AlertNotDelivered, and NoAnswer where it may have come all the same.
        """
        service = Apprise(asset=_asset())
        service.add(self._plugin)  # pyright: ignore[reportUnknownMemberType]
        result = service.notify(  # pyright: ignore[reportUnknownMemberType]
            title=title,
            body=_short(body) if is_short else self._fitting(body, title),
            notify_type=TYPES[severity],
            body_format=NotifyFormat.TEXT,
            log_level=logging.DEBUG,
        )
        if result.status is not AppriseResultStatus.SUCCESS:
            raise _failure(self.shown_as, result)

    def _fitting(self, body: str, title: str) -> str:
        """The whole lines of a body that the channel has room for as it is sent, and how many more there are."""
        shares = self._plugin.title_maxlen <= 0 or self._plugin.overflow_amalgamate_title
        room = self._room - MARGIN - (self._size(title) if shares else 0)
        num_lines = len(body.splitlines())
        num_too_long = bisect_left(
            range(num_lines + 1), True, key=lambda kept: self._size(_first_lines(body, kept)) > room
        )
        return _first_lines(body, max(num_too_long - 1, 0))

    def _size(self, text: str) -> int:
        """Characters that a text has when it is sent; where the service counts those, bytes."""
        marked_up = cast(str, convert_between(NotifyFormat.TEXT, self._format, text))
        sent = self._plugin.dialect_convert(marked_up, self._format)
        return (
            max(len(sent.encode()), round(len(json.dumps(sent)) / JSON_PER_BYTE)) if self._counts_bytes else len(sent)
        )


def _first_lines(body: str, num: int) -> str:
    """Some lines of a body, and how many more there are."""
    lines = body.splitlines()
    more = len(lines) - num
    return body if more <= 0 else "\n".join([*lines[:num], f"and {more} line{'s'[: more - 1]} more, on the pages"])


def _short(body: str) -> str:
    """The main link of a body where it begins with one, and how many more lines there are."""
    return _first_lines(body, 1 if "://" in body.partition("\n")[0].partition(" ")[0] else 0)


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
    """The error of an attempt, in words of ours: apprise's own may hold the address, and the message itself."""
    if result.status is AppriseResultStatus.TIMEOUT:
        return NoAnswer(f"{shown_as} did not answer in time")
    entries = [entry for entry in result.logs() if entry.level in {"WARNING", "ERROR"}]
    if answers := [answer for entry in entries for answer in ANSWERED.findall(entry.message)]:
        return AlertNotDelivered(f"{shown_as} answered {answers[-1]}")
    said = "\n".join(found[1] for entry in result.logs() if (found := SYSTEM_SAID.match(entry.message)))
    if NEVER_REACHED.search(said):
        return AlertNotDelivered(f"{shown_as} could not be reached")
    if "timed out" in said.lower():
        return NoAnswer(f"{shown_as} did not answer in time")
    return NoAnswer(f"{shown_as} did not take it")
