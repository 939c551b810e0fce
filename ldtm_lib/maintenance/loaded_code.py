"""The code and the settings that a running Dagster has loaded, as its sensors report them.

Definitions are made once, when a code location is loaded; the files may change afterwards. The report lists the
schedules and sensors that the daemon has loaded, their default status, their next ticks, and hashes of code and
settings. It is kept in Dagster's storage and cleared at each start.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ldtm_lib.daily_run.loaded_settings import changed_settings
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.installation import code_sha256
from ldtm_lib.settings import Settings

KEY = "ldtm/loaded_code"
"""Key in the key-value store of Dagster's storage."""
TICK_DAYS = 15
"""Days for which ticks are reported, so that `ldtm status` shows the next ones after the daemon was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAutomation:
    """A schedule or a sensor that the daemon has loaded."""

    name: str
    is_on_by_default: bool
    ticks: tuple[str, ...]
    """Ticks of a schedule that may launch something, in ISO 8601; none for a sensor."""

    @property
    def default_status(self) -> str:
        """The status that Dagster gives it unless a person sets another one."""
        return "RUNNING" if self.is_on_by_default else "STOPPED"

    def next_tick(self, moment: datetime) -> datetime | None:
        """The first tick after a moment; None if the report does not reach that far, or for a sensor."""
        return next((tick for tick in map(datetime.fromisoformat, self.ticks) if tick > moment), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCode:
    """The code and the settings of a code location."""

    code_sha256: str
    settings: dict[str, str]
    """Hashes of the settings that are read once, by name (`frozen_settings`)."""
    automation: tuple[LoadedAutomation, ...]

    def as_text(self) -> str:
        """The report as stored text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> "LoadedCode":
        """Parse a stored report."""
        fields: dict[str, Any] = json.loads(text)
        automation = [
            LoadedAutomation(name=row["name"], is_on_by_default=row["is_on_by_default"], ticks=tuple(row["ticks"]))
            for row in fields["automation"]
        ]
        return cls(code_sha256=fields["code_sha256"], settings=fields["settings"], automation=tuple(automation))

    def changes(self, settings: Settings) -> list[str]:
        """Descriptions of differences from the current code and configuration file."""
        code = ["the code of LDTM"] if self.code_sha256 != code_sha256() else []
        names = changed_settings(self.settings, settings)
        return [*code, *([f"{', '.join(names)} of {settings.path.name}"] if names else [])]


def loaded_code(conn: Connection) -> LoadedCode | None:
    """The report in Dagster's storage, whose schema the connection has; None before a sensor has reported."""
    row = conn.execute(query("maintenance.loaded_code"), {"key": KEY}).fetchone()
    return LoadedCode.parse(row[0]) if row is not None and row[0] else None
