"""The receiver of notifications: a web server on the loopback, and queries on what it has received."""

import re

from tests.integration.alerts.receiver import Receiver

NUMBER = re.compile(r"\[notification (\d+)(, perhaps a repeat)?\]")


def numbers(mailbox: Receiver) -> list[int]:
    """The id of each received notification, from its title."""
    return [int(found[1]) for title, _ in mailbox.messages if (found := NUMBER.search(title))]


def about(mailbox: Receiver, *words: str) -> list[tuple[str, str]]:
    """Title and text of the notifications that contain all of some words."""
    return [(title, text) for title, text in mailbox.messages if all(word in f"{title}\n{text}" for word in words)]
