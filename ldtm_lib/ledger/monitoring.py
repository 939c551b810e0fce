"""Monitoring of active models: detect those whose live record fell below the gate, and retire them if configured."""

from dataclasses import dataclass

from ldtm_lib.alerts.alert import Alert, partition_link, raise_alerts
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import RegistryConflict
from ldtm_lib.ledger.degradation import ModelRecord, degraded_models
from ldtm_lib.registry.lifecycle import retire
from ldtm_lib.settings import Settings

POLICY = "policy registry.degradation_policy"
"""The author on record of an automatic retirement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringReport:
    """Every active model's live record, and the models that were retired for it."""

    records: tuple[ModelRecord, ...]
    retired: tuple[ModelRecord, ...]
    """The degraded models that were retired now."""

    @property
    def degraded(self) -> tuple[ModelRecord, ...]:
        """The models whose record fell significantly below the gate."""
        return tuple(record for record in self.records if record.is_degraded)

    @property
    def alerts(self) -> list[Alert]:
        """One alert for each retirement."""
        return [
            Alert(
                key=f"degradation/{record.checkpoint_id}",
                kind="degradation",
                severity="error",
                session=record.last_run_date,
                subject=record.ticker,
                summary=f"retired for its record: {record.reason}. It abstains until another network passes the gate.",
                link=partition_link("registry", record.ticker),
                is_news=True,
            )
            for record in self.retired
        ]


def monitor_active_models(conn: Connection, settings: Settings) -> MonitoringReport:
    """Compare the live record of every active model with the gate, and retire degraded ones if the policy says so.

    Runs in the caller's transaction; a retirement is recorded with the figures as its reason, and raises an alert.
    If the policy may retire models, promotions and lifecycle actions wait until the transaction ends, so that the
    figures are those of the active models. A model that was taken out without waiting is left as it is.
    """
    config = settings.registry
    may_retire = config.degradation_policy == "retire"
    if may_retire:
        conn.execute(query("registry.lock_promotions"))
    records = tuple(degraded_models(conn, settings.gate, significance=config.degradation_significance))
    degraded = [record for record in records if record.is_degraded] if may_retire else []
    report = MonitoringReport(
        records=records, retired=tuple(record for record in degraded if _retired_now(conn, record))
    )
    raise_alerts(conn, report.alerts)
    return report


def degraded_checkpoints(conn: Connection, settings: Settings) -> frozenset[int]:
    """The checkpoints of the active models whose live record fell significantly below the gate."""
    records = degraded_models(conn, settings.gate, significance=settings.registry.degradation_significance)
    return frozenset(record.checkpoint_id for record in records if record.is_degraded)


def _retired_now(conn: Connection, record: ModelRecord) -> bool:
    """Retire the model of a record; false when it is not active any more."""
    try:
        retire(conn, record.ticker, requested_by=POLICY, why=record.reason, checkpoint_id=record.checkpoint_id)
    except RegistryConflict:
        return False
    return True
