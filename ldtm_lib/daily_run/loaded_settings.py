"""The settings that Dagster loaded at its start, compared with the current file.

Partitions, schedules and sensors are defined once, at the start; runs read the file again. Runs are launched with the
file's current settings, restricted to the tickers that have partitions.
"""

import json
from collections.abc import Mapping
from hashlib import sha256

from ldtm_lib.alerts.alert import Alert, raise_alerts, resolve_alerts
from ldtm_lib.database.connection import Connection
from ldtm_lib.installation import reload_command
from ldtm_lib.settings import Settings

KEY = "settings/changed"


def effective_settings(loaded: Settings, current: Settings) -> Settings | None:
    """The settings with which runs are launched; None if a run would make other partitions than requested.

    That is the case if the file changes `partitions` or the position of a ticker, since ranges of partitions depend on
    both. Tickers added at the end are ignored until Dagster is restarted.
    """
    known = loaded.tickers
    if current.partitions != loaded.partitions or current.tickers[: len(known)] != known:
        return None
    return current.replace(
        tickers=known,
        retired={t: day for t, day in current.retired.items() if t in known},
        contracts={t: contract for t, contract in current.contracts.items() if t in known},
        symbols={t: symbol for t, symbol in current.symbols.items() if t in known},
    )


def frozen_settings(settings: Settings) -> dict[str, str]:
    """A hash of each setting that Dagster reads only once, at its start, by the name of the setting."""
    frozen = {
        "tickers": settings.tickers,
        "partitions": settings.partitions.model_dump(mode="json"),
        "source": (settings.source.kind, settings.source.folder),
        "automation.enabled": settings.automation.enabled,
        "gate.strict": settings.gate.strict,
        "ui": settings.ui.model_dump(mode="json"),
    }
    return {name: sha256(json.dumps(value, default=str).encode()).hexdigest() for name, value in frozen.items()}


def changed_settings(loaded: Mapping[str, str], current: Settings) -> list[str]:
    """The names of the settings that differ between the start of Dagster and the current file."""
    return [name for name, value in frozen_settings(current).items() if loaded.get(name) != value]


def settings_changed(loaded: Settings, current: Settings) -> str | None:
    """The changes of the file that need a restart, and their effect until then; None without changes."""
    changed = changed_settings(frozen_settings(loaded), current)
    if not changed:
        return None
    changes = f"{', '.join(changed)} of {current.path.name} changed since Dagster was started"
    if effective_settings(loaded, current) is None:
        return f"{changes}; nothing is launched until `{reload_command()}`"
    return f"{changes}; `{reload_command()}` applies the change"


def check_settings(conn: Connection, loaded: Settings, current: Settings) -> str | None:
    """Raise an alert if the file differs from the loaded settings, or resolve it otherwise; returns the changes."""
    changed = settings_changed(loaded, current)
    if changed is None:
        resolve_alerts(conn, [KEY])
        return None
    severity = "warning" if effective_settings(loaded, current) else "error"
    raise_alerts(conn, [Alert(key=KEY, kind="settings", severity=severity, subject=current.path.name, summary=changed)])
    return changed
