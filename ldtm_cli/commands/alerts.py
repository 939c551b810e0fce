"""`ldtm alerts`: a test notification through every channel."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, print_json
from ldtm_lib.errors import ConfigurationError, NotificationNotDelivered

if TYPE_CHECKING:
    from ldtm_lib.alerts.channels import Channel

app = typer.Typer(help="Notification of people.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One channel, and why it did not accept the test notification."""

    channel: str
    failure: str | None


@app.command("test")
def send_test(as_json: AsJson = False) -> None:
    """Send a test notification through every channel of LDTM_ALERT_URLS, and report which ones accepted it."""
    trials = try_channels(os.environ)
    print_json([asdict(trial) for trial in trials]) if as_json else print_trials(console, trials)
    if any(trial.failure for trial in trials):
        raise typer.Exit(EXIT_FAILED)


def try_channels(environ: Mapping[str, str]) -> list[Trial]:
    """Send a test notification through every channel; a failure or an invalid address stops no other one.

    Raises ConfigurationError when there is no channel at all.
    """
    from ldtm_lib.alerts.channels import configured_channels
    from ldtm_lib.alerts.secrets import ALERT_VARIABLE

    found = configured_channels(environ)
    if not found.channels and found.refused:
        raise ConfigurationError(found.refused[0])
    if not found.channels:
        raise ConfigurationError(
            f"{ALERT_VARIABLE} names no channel; set it to one or more addresses of apprise, such as mailtos://... or "
            "jsons://hooks.example.org/..., separated by spaces"
        )
    tried = [Trial(channel=channel.shown_as, failure=_failure_of(channel)) for channel in found.channels]
    return [*tried, *(Trial(channel=ALERT_VARIABLE, failure=reason) for reason in found.refused)]


def print_trials(console: Console, trials: Sequence[Trial]) -> None:
    """Print the result of each channel."""
    for trial in trials:
        result = f"[red]{escape(trial.failure)}[/]" if trial.failure else "[green]accepted the notification[/]"
        console.print(f"{escape(trial.channel)}  {result}", soft_wrap=True)


def _failure_of(channel: "Channel") -> str | None:
    try:
        channel.send(
            title="LDTM: a test",
            body=f"This is how notifications of LDTM on {socket.gethostname()} will look. Nothing is wrong.",
            severity="info",
        )
    except NotificationNotDelivered as failure:
        return str(failure)
    return None
