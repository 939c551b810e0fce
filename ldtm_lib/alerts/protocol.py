"""What an alert is, and what carries one to people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ldtm_lib.errors import AlertNotDelivered

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message about everything of its kind that happened at once: 103 failures are one alert."""

    kind: str
    """What it is about, for whoever sorts alerts: such as `gate`."""
    severity: Severity
    title: str
    """One line."""
    lines: tuple[str, ...]
    """A sentence for each thing that happened."""

    @property
    def text(self) -> str:
        """Title and lines, as a person reads them."""
        return "\n".join([self.title, *self.lines])

    def as_dict(self) -> Mapping[str, object]:
        """The alert as JSON can say it; `text` is what chat programs show of a webhook."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "title": self.title,
            "lines": list(self.lines),
            "text": self.text,
        }


class Channel(Protocol):
    """Carries alerts to people."""

    @property
    def name(self) -> str:
        """What it is, without anything secret."""
        ...

    def send(self, alert: Alert) -> None:
        """Deliver one alert. Raises AlertNotDelivered."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A channel that did not take an alert, and why."""

    channel: str
    reason: str


def send(alert: Alert, channels: Sequence[Channel]) -> list[Undelivered]:
    """Send an alert through every channel; one that fails takes none of the others with it."""
    failures: list[Undelivered] = []
    for channel in channels:
        try:
            channel.send(alert)
        except AlertNotDelivered as error:
            failures.append(Undelivered(channel=channel.name, reason=str(error)))
    return failures
