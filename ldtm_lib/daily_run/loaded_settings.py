"""The owner's file against what Dagster was started with.

Partitions, schedules and sensors are made of the file once; whatever runs reads it anew. So what is launched goes by
the file's present settings, of the tickers that are partitions.
"""

from ldtm_lib.alerts.alert import Alert, raise_alerts, resolve_alerts
from ldtm_lib.database.connection import Connection
from ldtm_lib.settings import Settings

KEY = "settings/changed"
REMEDY = "`ldtm down && ldtm up`"


def effective_settings(held: Settings, now: Settings) -> Settings | None:
    """By which settings runs are launched; None where a run would make other partitions than it is launched for.

    That is so when the file says other partitions, or takes a ticker away from its place: those of a range are counted
    by it. Tickers that were added at the end wait for a new start.
    """
    known = held.tickers
    if now.partitions != held.partitions or now.tickers[: len(known)] != known:
        return None
    return now.replace(
        tickers=known,
        retired={t: day for t, day in now.retired.items() if t in known},
        contracts={t: contract for t, contract in now.contracts.items() if t in known},
    )


def settings_changed(held: Settings, now: Settings) -> str | None:
    """What of the file takes effect with a new start alone, and what happens until then; None when it says the same."""
    frozen = {
        "tickers": (held.tickers, now.tickers),
        "partitions": (held.partitions, now.partitions),
        "source": ((held.source.kind, held.source.folder), (now.source.kind, now.source.folder)),
        "automation.enabled": (held.automation.enabled, now.automation.enabled),
        "gate.strict": (held.gate.strict, now.gate.strict),
    }
    changed = [name for name, (before, after) in frozen.items() if before != after]
    if not changed:
        return None
    changes = f"{', '.join(changed)} of {now.path.name} changed since Dagster was started"
    if effective_settings(held, now) is None:
        return f"{changes}; nothing is launched until {REMEDY}"
    return f"{changes}, and takes effect with {REMEDY}"


def check_settings(conn: Connection, held: Settings, now: Settings) -> str | None:
    """Raise the alert that the file was changed, or resolve it when it is as it was; returns the changes in words."""
    changed = settings_changed(held, now)
    if changed is None:
        resolve_alerts(conn, [KEY])
        return None
    severity = "warning" if effective_settings(held, now) else "error"
    raise_alerts(conn, [Alert(key=KEY, kind="settings", severity=severity, subject=now.path.name, summary=changed)])
    return changed
