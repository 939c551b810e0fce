"""Notification channels through apprise: mail, chat, push, webhooks, each named by an address in the environment.

An address is secret as a whole. Only its scheme is shown, and its host where that part is a host: `tgram://` and others
have a token instead. The log lines of apprise are read here and kept from every log.
"""

import hashlib
import json
import logging
import re
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.common import OverflowMode
from apprise.conversion import convert_between  # pyright: ignore[reportUnknownVariableType]
from apprise.plugins.base import NotifyBase
from apprise.result import AppriseResult, AppriseResultStatus

from ldtm_lib.alerts.alert import Severity
from ldtm_lib.alerts.plain_text import shown_literally
from ldtm_lib.alerts.secrets import ALERT_VARIABLE, alert_urls
from ldtm_lib.errors import ConfigurationError, NotificationNotDelivered

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
SEND_SECONDS = 15.0
"""Time limit of one notification in one channel."""
MARGIN = 50
"""Characters that are left for the text that apprise adds."""
MOST_BYTES: Mapping[str, int] = {"ntfy": 4000, "ntfys": 4000}
"""Limits by scheme, in bytes, that are lower than apprise assumes: an ntfy server turns a message above its
`message-size-limit` of 4,096 into an attachment, and refuses it where attachments are off (https://docs.ntfy.sh/config)."""
JSON_PER_BYTE = 1.8
"""Characters of JSON for each of those bytes: apprise turns more than 8,000 in all into an attachment."""
LONGEST_ESCAPE = 8
"""Characters that one character may become in HTML, before the service's own dialect shortens them."""
TYPES: Mapping[Severity, NotifyType] = {
    "info": NotifyType.INFO,
    "warning": NotifyType.WARNING,
    "error": NotifyType.FAILURE,
}
NEVER_REACHED = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|SSLError|Connection refused|unreachable|"
    r"Name or service not known|certificate verify failed|Authentication"
)
"""System errors of an attempt that failed before the notification was sent."""
SYSTEM_SAID = re.compile(r"Socket Exception:(?:.*\(Caused by)?(.*)", re.DOTALL)
"""The system's own error text; the part before it may contain the address."""
ANSWERED = re.compile(r"error=(\d{3})\b")
TOO_LONG = re.compile(r" answered 4(00|13)$")
"""A failure after which the channel may accept a shorter text."""


class NoAnswer(NotificationNotDelivered):
    """It is not known whether a channel accepted the notification: it may have been delivered."""


class Channel:
    """One address that accepts notifications."""

    def __init__(self, url: str, *, source: str) -> None:
        """`source` names the setting that holds the address. Raises ConfigurationError for an invalid address."""
        _keep_quiet()
        plugin = Apprise.instantiate(url, asset=_asset())  # pyright: ignore[reportUnknownMemberType] apprise's dicts are bare
        if plugin is None:
            raise ConfigurationError(
                f"{source} is not an address that apprise accepts; write one such as jsons://hooks.example.org/..., "
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
            with suppress(AttributeError):  # services that compute it themselves; none accepts HTML
                plugin.body_maxlen *= LONGEST_ESCAPE  # apprise cuts before the dialect; sent texts are measured here
        self._plugin = plugin
        self.key = hashlib.sha256(url.encode()).hexdigest()
        """Identity of the address, which does not reveal it."""
        self.shown_as = _shown_as(url, plugin)
        """The part of the address that is not secret."""

    def __repr__(self) -> str:
        return f"Channel({self.shown_as})"

    def send(self, *, title: str, body: str, severity: Severity, is_short: bool = False) -> None:
        """Deliver one notification as plain text; a short one has only the main link of its body.

        Raises NotificationNotDelivered, and NoAnswer if it may have been delivered nevertheless.
        """
        body = shown_literally(body, self._plugin, self._format)
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
        """The first lines of a body that fit into the channel as it is sent, and the number of further lines."""
        shares = self._plugin.title_maxlen <= 0 or self._plugin.overflow_amalgamate_title
        room = self._room - MARGIN - (self._size(title) if shares else 0)
        num_lines = len(body.splitlines())
        num_too_long = bisect_left(
            range(num_lines + 1), True, key=lambda kept: self._size(_first_lines(body, kept)) > room
        )
        return _first_lines(body, max(num_too_long - 1, 0))

    def _size(self, text: str) -> int:
        """Characters of a text as it is sent; bytes where the service counts bytes."""
        marked_up = cast(str, convert_between(NotifyFormat.TEXT, self._format, text))
        sent = self._plugin.dialect_convert(marked_up, self._format)
        return (
            max(len(sent.encode()), round(len(json.dumps(sent)) / JSON_PER_BYTE)) if self._counts_bytes else len(sent)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredChannels:
    """The channels of an environment, and the addresses that are invalid."""

    channels: tuple[Channel, ...]
    refused: tuple[str, ...]
    """One reason for each invalid address; the other channels work nevertheless."""


def configured_channels(environ: Mapping[str, str]) -> ConfiguredChannels:
    """The channels that the environment names, and the reason for each address that is invalid."""
    urls = alert_urls(environ)
    found, refused = list[Channel](), list[str]()
    for number, url in enumerate(urls, 1):
        try:
            found.append(Channel(url, source=f"address {number} of {len(urls)} in {ALERT_VARIABLE}"))
        except ConfigurationError as error:
            refused.append(str(error))
    return ConfiguredChannels(channels=tuple(found), refused=tuple(refused))


def valid_channels(environ: Mapping[str, str]) -> list[Channel]:
    """The channels that the environment names. Raises ConfigurationError if an address is invalid."""
    found = configured_channels(environ)
    if found.refused:
        raise ConfigurationError(found.refused[0])
    return list(found.channels)


def _first_lines(body: str, num: int) -> str:
    """The first lines of a body, and the number of further lines."""
    lines = body.splitlines()
    more = len(lines) - num
    return body if more <= 0 else "\n".join([*lines[:num], f"and {more} line{'s'[: more - 1]} more, in the UI"])


def _short(body: str) -> str:
    """The main link of a body if it begins with one, and the number of further lines."""
    return _first_lines(body, 1 if "://" in body.partition("\n")[0].partition(" ")[0] else 0)


def _asset() -> AppriseAsset:
    """Settings of apprise: one attempt, bounded in time, nothing kept on disk, no redirect followed.

    The target of a redirect, such as a login page, has not accepted the notification.
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
    """Keep the messages of apprise and its HTTP client from every log of this process: they may contain addresses."""
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


def _failure(shown_as: str, result: AppriseResult) -> NotificationNotDelivered:
    """The error of an attempt, without the messages of apprise, which may contain the address and the text."""
    if result.status is AppriseResultStatus.TIMEOUT:
        return NoAnswer(f"{shown_as} did not answer in time")
    entries = [entry for entry in result.logs() if entry.level in {"WARNING", "ERROR"}]
    if answers := [answer for entry in entries for answer in ANSWERED.findall(entry.message)]:
        return NotificationNotDelivered(f"{shown_as} answered {answers[-1]}")
    said = "\n".join(found[1] for entry in result.logs() if (found := SYSTEM_SAID.match(entry.message)))
    if NEVER_REACHED.search(said):
        return NotificationNotDelivered(f"{shown_as} could not be reached")
    if "timed out" in said.lower():
        return NoAnswer(f"{shown_as} did not answer in time")
    return NoAnswer(f"{shown_as} reported a failure without a reason; the notification may have been delivered")
