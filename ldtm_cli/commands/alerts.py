"""`ldtm alerts`: shows recorded alerts, and sends a test notification through every channel."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, print_json, ready_project
from ldtm_cli.tables import facts_table
from ldtm_lib.errors import ConfigurationError, NotificationNotDelivered

if TYPE_CHECKING:
    from ldtm_lib.alerts.channels import Channel
    from ldtm_lib.alerts.history import RecordedAlert

app = typer.Typer(help="Alerts and notifications.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Result of a test notification through one channel; `failure` is None if the channel accepted it."""

    channel: str
    failure: str | None


@app.command("list")
def list_(
    all_times: Annotated[
        bool, typer.Option("--all", help="Include alerts resolved more than seven days ago, and older news.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List open alerts and those resolved in the last seven days; open and most severe alerts come first."""
    from ldtm_lib.alerts.history import recorded_alerts

    with ready_project().database.transaction() as conn:
        alerts = recorded_alerts(conn, all_times=all_times)
    if as_json:
        print_json([asdict(alert) | {"is_open": alert.is_open} for alert in alerts])
    else:
        print_alerts(console, alerts)


@app.command("show")
def show(
    key: Annotated[str, typer.Argument(help="Key of the alert, as `ldtm alerts list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Show one alert with its full summary and the times of its notifications."""
    from ldtm_lib.alerts.history import recorded_alert

    project = ready_project()
    with project.database.transaction() as conn:
        alert = recorded_alert(conn, key)
    if as_json:
        print_json(asdict(alert) | {"is_open": alert.is_open})
    else:
        print_alert(console, alert, project.settings.ui.url)


def print_alert(console: Console, alert: "RecordedAlert", ui_url: str) -> None:
    """Print every field of an alert."""
    table = facts_table()
    table.add_row("key", escape(alert.key))
    table.add_row("state", _state(alert))
    table.add_row("severity", alert.severity)
    table.add_row("about", escape(alert.subject) + (f", session {alert.session}" if alert.session else ""))
    table.add_row("summary", escape(alert.summary))
    table.add_row("since", _moment(alert.raised_at))
    table.add_row("last seen", _moment(alert.seen_at))
    table.add_row("notified", _moment(alert.notified_at) if alert.notified_at else "not yet")
    if alert.resolved_at is not None:
        table.add_row("resolved", _moment(alert.resolved_at))
    if alert.link is not None:
        table.add_row("UI", escape(ui_url.rstrip("/") + alert.link))
    console.print(table, highlight=False)


def print_alerts(console: Console, alerts: "Sequence[RecordedAlert]") -> None:
    """Print the state, the full key that `ldtm alerts show` takes, and the summary of each alert."""
    if not alerts:
        console.print("No alert is open, and none was resolved in the last seven days.")
        return
    for alert in alerts:
        notified = f", notified {_moment(alert.notified_at)}" if alert.notified_at else ""
        state = f"{alert.severity}, {_state(alert)}, raised {_moment(alert.raised_at)}{notified}"
        console.print(f"{state}\n  [bold]{escape(alert.key)}[/]", highlight=False, soft_wrap=True)
        console.print(Padding(f"{escape(alert.subject)}: {escape(alert.summary)}", (0, 0, 0, 2)), highlight=False)


def _state(alert: "RecordedAlert") -> str:
    return "news" if alert.is_news else "open" if alert.is_open else "resolved"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


@app.command("test")
def send_test(as_json: AsJson = False) -> None:
    """Send a test notification through every channel of LDTM_ALERT_URLS, and report which ones accepted it."""
    trials = try_channels(os.environ)
    print_json([asdict(trial) for trial in trials]) if as_json else print_trials(console, trials)
    if any(trial.failure for trial in trials):
        raise typer.Exit(EXIT_FAILED)


def try_channels(environ: Mapping[str, str]) -> list[Trial]:
    """Send a test notification through every channel; a failure or an invalid URL does not stop the others.

    Raises ConfigurationError if there is no valid channel.
    """
    from ldtm_lib.alerts.channels import configured_channels
    from ldtm_lib.alerts.secrets import ALERT_VARIABLE

    found = configured_channels(environ)
    if not found.channels and found.refused:
        raise ConfigurationError(found.refused[0])
    if not found.channels:
        raise ConfigurationError(
            f"{ALERT_VARIABLE} names no channel; set it to one or more Apprise URLs, such as mailtos://... or "
            "jsons://hooks.example.org/..., separated by spaces"
        )
    tried = [Trial(channel=channel.shown_as, failure=_failure_of(channel)) for channel in found.channels]
    return [*tried, *(Trial(channel=ALERT_VARIABLE, failure=reason) for reason in found.refused)]


def print_trials(console: Console, trials: Sequence[Trial]) -> None:
    """Print the result of each channel."""
    for trial in trials:
        failure = (trial.failure or "").removeprefix(trial.channel).strip()
        result = f"[red]{escape(failure)}[/]" if failure else "[green]accepted the notification[/]"
        console.print(f"{escape(trial.channel)}  {result}", soft_wrap=True)


def _failure_of(channel: "Channel") -> str | None:
    try:
        channel.send(
            title="LDTM: test notification",
            body=f"This is a test notification of LDTM on {socket.gethostname()}. No action is needed.",
            severity="info",
        )
    except NotificationNotDelivered as failure:
        return str(failure)
    return None
