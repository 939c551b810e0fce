"""Conversion of a notification's text so that a channel shows it as plain text, without markup or mentions of people.

A body holds names of files and error texts of other programs. Apprise escapes plain text for services that accept HTML
(mail, Telegram) or their own dialect (Slack). It sends plain text to Discord and Mattermost unchanged, which render it
as Markdown, and it does not prevent `@room`, `@all` or `@name` from notifying people in any service.
"""

import re

from apprise import NotifyFormat
from apprise.plugins.base import NotifyBase
from apprise.plugins.custom_form import NotifyForm
from apprise.plugins.custom_json import NotifyJSON
from apprise.plugins.custom_xml import NotifyXML
from apprise.plugins.discord import NotifyDiscord
from apprise.plugins.email.base import NotifyEmail
from apprise.plugins.mattermost import NotifyMattermost
from apprise.plugins.ntfy import NotifyNtfy

RENDERS_MARKDOWN = (NotifyDiscord, NotifyMattermost)
"""Services that render a plain text as Markdown."""
WITHOUT_MENTIONS = (NotifyEmail, NotifyForm, NotifyJSON, NotifyNtfy, NotifyXML)
"""Services that notify nobody by name: they get `@` unchanged."""
ZERO_WIDTH_SPACE = "\u200b"
"""After `@` it is invisible and ends every form of mention, also where a backslash does not escape one."""
ADDRESS = re.compile(r"(?<!\S)https?://[^\s<>()\[\]@]+(?!\S)")
MARKDOWN = re.compile(r"[\\*_~`|\[\]<>#]")


def shown_literally(body: str, plugin: NotifyBase, sent_as: NotifyFormat) -> str:
    """A body that the service of a plugin shows literally after apprise has converted it from plain text."""
    if isinstance(plugin, RENDERS_MARKDOWN) and sent_as is NotifyFormat.TEXT:
        body = _without_markdown(body)
    return body if isinstance(plugin, WITHOUT_MENTIONS) else body.replace("@", f"@{ZERO_WIDTH_SPACE}")


def _without_markdown(body: str) -> str:
    """Escape Markdown; in addresses, where a backslash would be part of them, the signs are percent-encoded."""
    parts, end = list[str](), 0
    for address in ADDRESS.finditer(body):
        parts += [_escaped(body[end : address.start()]), _encoded(address[0])]
        end = address.end()
    return "".join([*parts, _escaped(body[end:])])


def _escaped(text: str) -> str:
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", text)


def _encoded(address: str) -> str:
    """An address with the same meaning; `#` begins its fragment and stays."""
    return MARKDOWN.sub(lambda found: found[0] if found[0] == "#" else f"%{ord(found[0]):02X}", address)
