"""Checks of the record as a whole: it is unchanged, and its seals are published."""

from collections.abc import Iterator, Sequence

import dagster as dg

from ldtm_assets.asset_checks.scope import selected_checks
from ldtm_assets.materialization import listed
from ldtm_lib.audit.publications.protocol import Publication
from ldtm_lib.audit.sealing import SealingReport
from ldtm_lib.audit.verify import note_verification, verify
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.wording import counted

INTACT, PUBLISHED = "record_is_intact", "seals_are_published"


def record_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks of the record that close a daily run."""
    return [
        dg.AssetCheckSpec(
            INTACT,
            asset="snapshots",
            description="The whole record is unchanged: it matches its hash chain and all published seals.",
        ),
        dg.AssetCheckSpec(
            PUBLISHED,
            asset="snapshots",
            description="Every place of publication received the seals of the database and holds no other seals.",
        ),
    ]


def record_checks(
    context: dg.AssetExecutionContext,
    project: Project,
    calendar: Calendar,
    publications: Sequence[Publication],
    sealing: SealingReport,
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the selected checks of the record as a whole."""
    asked = selected_checks(context)
    if PUBLISHED in asked:
        yield dg.AssetCheckResult(
            asset_key="snapshots",
            check_name=PUBLISHED,
            passed=not sealing.failures,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "newest seal": sealing.newest.seal_id if sealing.newest else "none",
                "published now": listed(f"{name}: {number}" for name, number in sealing.published.items()),
                "failed, tried again with the next seal": listed(f"{n}: {why}" for n, why in sealing.failures.items()),
            },
        )
    if INTACT in asked:
        report = verify(project.database, calendar, publications)
        if report.is_intact:
            with project.database.transaction() as conn:
                note_verification(conn, report)
        yield dg.AssetCheckResult(
            asset_key="snapshots",
            check_name=INTACT,
            passed=report.is_intact,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={
                "events": report.num_events,
                "seals": report.num_seals,
                "newest seal": report.newest_seal.sha256.hex() if report.newest_seal else "none",
                "live forecasts": report.live.num_live,
                "sealed before their target session opened": report.live.num_sealed_in_time,
                "time-stamped before their target session opened": report.live.num_stamped_in_time,
                "discrepancies": len(report.discrepancies),
                "found": listed(found.message for found in report.discrepancies),
                "compared with": listed(
                    f"{p.name}: {counted(p.num_seals, 'seal')}"
                    + (f", {p.num_unpublished} not published there yet" if p.num_unpublished else "")
                    for p in report.publications
                ),
            },
        )
