"""The messages that arrived at the receiving web server."""

import re

from tests.integration.alerts.receiver import Receiver

NUMBER = re.compile(r"\[message (\d+)(, perhaps a repeat)?\]")


def numbers(mailbox: Receiver) -> list[int]:
    """The number of each message that came, as it stands in its title."""
    return [int(found[1]) for title, _ in mailbox.messages if (found := NUMBER.search(title))]


def about(mailbox: Receiver, *words: str) -> list[tuple[str, str]]:
    """Title and text of the messages that hold all of some words."""
    return [(title, text) for title, text in mailbox.messages if all(word in f"{title}\n{text}" for word in words)]
