"""`ldtm alerts test`: whether the channels of an installation take messages."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from ldtm_lib.alerts.apprise_channel import Channel
from ldtm_lib.alerts.channels import VARIABLE, configured
from ldtm_lib.errors import AlertNotDelivered, ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One channel, and why it did not take the test message."""

    channel: str
    failure: str | None


def try_channels(environ: Mapping[str, str]) -> list[Trial]:
    """Send a test message through every channel; one that fails, or an address that is none, stops no other one.

    Raises ConfigurationError when there is no channel at all.
    """
    found = configured(environ)
    if not found.channels and found.refused:
        raise ConfigurationError(found.refused[0])
    if not found.channels:
        raise ConfigurationError(
            f"{VARIABLE} names no channel; set it to one or more addresses of apprise, such as mailtos://... or "
            "jsons://hooks.example.org/..., separated by spaces"
        )
    tried = [Trial(channel=way.shown_as, failure=_failure_of(way)) for way in found.channels]
    return [*tried, *(Trial(channel=VARIABLE, failure=reason) for reason in found.refused)]


def print_trials(console: Console, trials: Sequence[Trial]) -> None:
    """Show who took the message."""
    for trial in trials:
        told = f"[red]{escape(trial.failure)}[/]" if trial.failure else "[green]took the message[/]"
        console.print(f"{escape(trial.channel)}  {told}", soft_wrap=True)


def _failure_of(way: Channel) -> str | None:
    try:
        way.send(
            title="LDTM: a test",
            body=f"This is how alerts of LDTM on {socket.gethostname()} will come. Nothing is wrong.",
            severity="info",
        )
    except AlertNotDelivered as failure:
        return str(failure)
    return None
