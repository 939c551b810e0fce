"""Asset checks: one summary per run of what a person should look at."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date

import dagster as dg

from ldtm_assets.loss_pictures import picture_of_universe
from ldtm_assets.partitions import Cell
from ldtm_assets.verdicts import verdict
from ldtm_lib.audit.closing import Closing
from ldtm_lib.audit.publications.protocol import Publication
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.evenings.freshness import named, sessions_with_gaps
from ldtm_lib.ledger.fillbacks import overdue
from ldtm_lib.ledger.snapshots import SnapshotReport, missing_rows
from ldtm_lib.ledger.watch import Watch
from ldtm_lib.prices import store
from ldtm_lib.project import Project
from ldtm_lib.registry.outcomes import RetrainReport
from ldtm_lib.registry.summary import COLUMNS, summary_rows
from ldtm_lib.sessions import Calendar

QUARANTINE, COMPLETE, ARRIVED = "no_bar_in_quarantine", "every_ticker_has_a_row", "every_due_actual_came"
INTACT, PUBLISHED, HOLD_UP = "record_is_intact", "seals_are_published", "active_models_hold_up"
TRAINED = "no_training_failed"
NUM_SHOWN = 50
"""Lines of a list that metadata shows."""
AS_A_WHOLE = "as a whole"
NUM_CLOSEST = 5


def evening_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that an evening ends with."""
    return [
        dg.AssetCheckSpec(QUARANTINE, asset="prices", description="No bar of these cells was refused and still waits."),
        dg.AssetCheckSpec(
            COMPLETE, asset="snapshots", description="Every ticker has a forecast or a reason on record."
        ),
        dg.AssetCheckSpec(
            ARRIVED, asset="fillbacks", description="Every actual that is due has a bar; what waits is voided in time."
        ),
        dg.AssetCheckSpec(
            HOLD_UP, asset="fillbacks", description="No active model's live record fell significantly below the gate."
        ),
        dg.AssetCheckSpec(
            INTACT,
            asset="snapshots",
            description="The whole record is what was recorded, by its hash chain and by all that was published of it.",
        ),
        dg.AssetCheckSpec(
            PUBLISHED, asset="snapshots", description="Every seal is published everywhere that the configuration names."
        ),
    ]


def training_check_specs() -> list[dg.AssetCheckSpec]:
    """The check that a training ends with."""
    return [
        dg.AssetCheckSpec(
            TRAINED,
            asset="checkpoints",
            description="No ticker's training failed. Shows the newest training as a whole: a table and all losses.",
        ),
    ]


def evening_checks(
    context: dg.AssetExecutionContext,
    project: Project,
    cells: Sequence[Cell],
    reports: Sequence[SnapshotReport],
    waiting: Collection[str],
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate those checks of an evening's rows that were asked for; `reports` are those of its sessions.

    A check passes when the cells of the run are as they should be; a session is well when all of its tickers are, those
    that the run left alone too. `waiting` are the keys of cells that failed and are tried again, or told by ticker.
    """
    asked, settings = asked_of(context), project.settings
    sessions = sorted({cell.session for cell in cells})
    expected = {(ticker, session) for session in sessions for ticker in settings.tickers_on(session)}
    expected |= {(cell.ticker, cell.session) for cell in cells}
    with project.database.transaction() as conn:
        if QUARANTINE in asked:
            asked_for = {(cell.ticker, cell.session) for cell in cells}
            refused = store.open_quarantine(conn).to_dicts()
            held = [row for row in refused if (row["ticker"], row["session"]) in asked_for]
            of_sessions = {row["session"] for row in refused if (row["ticker"], row["session"]) in expected}
            yield dg.AssetCheckResult(
                asset_key="prices",
                check_name=QUARANTINE,
                passed=not held,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={
                    "bars": len(held),
                    "of other sessions": len(refused) - len(held),
                    "refused": listed(f"{row['ticker']} {row['session']}: {row['reason']}" for row in held),
                    **_verdict_on(
                        sessions,
                        found=[(row["session"], f"{row['ticker']}: {row['reason']}") for row in held],
                        not_well=of_sessions,
                    ),
                },
            )
        if COMPLETE in asked:
            gaps = missing_rows(conn, [(cell.ticker, cell.session) for cell in cells])
            yield dg.AssetCheckResult(
                asset_key="snapshots",
                check_name=COMPLETE,
                passed=not gaps,
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={
                    "rows expected": len(cells),
                    "missing": listed(f"{ticker} {day}" for ticker, day in gaps),
                    "of these tried again": sum(Cell(day, ticker).key in waiting for ticker, day in gaps),
                    "bullish": sum(report.num_bullish for report in reports),
                    "neutral": sum(report.num_neutral for report in reports),
                    "bearish": sum(report.num_bearish for report in reports),
                    "abstained": sum(report.num_abstained for report in reports),
                    "model versions": ", ".join(sorted({v for report in reports for v in report.model_versions}))
                    or "none",
                    "cohorts": listed(report.cohort for report in reports),
                    **_verdict_on(
                        sessions,
                        found=[(day, f"no row of {t}") for t, day in gaps if Cell(day, t).key not in waiting],
                        not_well={day for _, day in gaps} | sessions_with_gaps(conn, expected),
                    ),
                },
            )
        if ARRIVED in asked:
            last = min(last_closed_session(conn), settings.partitions.last_session or date.max)
            newest = sessions[-1] if sessions else last
            late = [
                f"{row['ticker']} {row['run_date']}, {row['horizon'].replace('_', ' ')}: no bar of "
                f"{row['target_session']}"
                for row in overdue(conn, as_of=newest).to_dicts()
            ]
            wait = settings.ledger.void_after_sessions
            yield dg.AssetCheckResult(
                asset_key="fillbacks",
                check_name=ARRIVED,
                passed=not late,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "actuals without a bar": len(late),
                    "waiting": listed(late),
                    "then": f"voided after {wait} sessions of which other bars came; materialize prices of the target "
                    "session again if the bar exists",
                    **verdict(
                        in_trouble={AS_A_WHOLE: f"{len(late)} actuals without a bar: {named(late)}"} if late else {},
                        well=[AS_A_WHOLE] if newest >= last and not late else [],
                    ),
                },
            )


def _verdict_on(
    sessions: Iterable[date], *, found: Iterable[tuple[date, str]], not_well: Collection[date]
) -> dict[str, dg.MetadataValue]:
    """What there is to say of each session, and those of which there is nothing to say."""
    told: dict[date, list[str]] = {}
    for session, what in found:
        told.setdefault(session, []).append(what)
    return verdict(
        in_trouble={session.isoformat(): f"{len(lines)}: {named(lines)}" for session, lines in told.items()},
        well=[session.isoformat() for session in sessions if session not in not_well],
    )


def watch_check(context: dg.AssetExecutionContext, project: Project, watch: Watch) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the check of the active models, if it was asked for: who fell below the gate, and who is close to it."""
    if HOLD_UP not in asked_of(context):
        return
    closest = sorted(watch.records, key=lambda r: max(r.direction_evidence, r.error_evidence), reverse=True)
    yield dg.AssetCheckResult(
        asset_key="fillbacks",
        check_name=HOLD_UP,
        passed=not watch.degraded,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "active models": len(watch.records),
            "degraded": listed(record.reason for record in watch.degraded),
            "retired now": ", ".join(f"{r.ticker} {r.version}" for r in watch.retired) or "none",
            "policy": project.settings.registry.degraded,
            "closest to it": listed(record.reason for record in closest[:NUM_CLOSEST]),
        },
    )


def closing_checks(
    context: dg.AssetExecutionContext,
    project: Project,
    calendar: Calendar,
    publications: Sequence[Publication],
    closing: Closing,
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate those checks of the record as a whole that were asked for."""
    asked = asked_of(context)
    if PUBLISHED in asked:
        yield dg.AssetCheckResult(
            asset_key="snapshots",
            check_name=PUBLISHED,
            passed=not closing.failures,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "newest seal": closing.newest.seal_id if closing.newest else "none",
                "published now": listed(f"{name}: {number}" for name, number in closing.published.items()),
                "failed, tried again with the next seal": listed(f"{n}: {why}" for n, why in closing.failures.items()),
            },
        )
    if INTACT in asked:
        report = verify(project.database, calendar, publications)
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
                "sealed before their session": report.live.num_sealed_in_time,
                "time-stamped before their session": report.live.num_stamped_in_time,
                "discrepancies": len(report.discrepancies),
                "found": listed(found.message for found in report.discrepancies),
                "compared with": listed(
                    f"{p.name}: {p.num_seals} seals" + (f", {p.num_unpublished} not yet" if p.num_unpublished else "")
                    for p in report.publications
                ),
            },
        )


def asked_of(context: dg.AssetExecutionContext) -> set[str]:
    """The names of the checks that a run was asked to evaluate."""
    return {key.name for key in context.selected_asset_check_keys}


def listed(lines: Iterable[str]) -> dg.MetadataValue:
    """Lines as a list, at most so many of them; `none` for none."""
    known = list(lines)
    more = [f"and {len(known) - NUM_SHOWN} more"] if len(known) > NUM_SHOWN else []
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in [*known[:NUM_SHOWN], *more]) or "none")


def training_check(context: dg.AssetExecutionContext, report: RetrainReport) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the check of a training: an error that names what failed, and the training of all tickers at a glance.

    What belongs to the run as a whole is kept here, once, and not with each of its partitions.
    """
    if TRAINED not in asked_of(context):
        return
    failed = [outcome for outcome in report.outcomes if outcome.status == "failed"]
    lines = [f"- {outcome.ticker} {outcome.part}: {outcome.reason}" for outcome in failed]
    rows = summary_rows(report)
    yield dg.AssetCheckResult(
        asset_key="checkpoints",
        check_name=TRAINED,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "trained on bars up to": report.trained_on.isoformat(),
            "tickers": len(rows),
            "failures": len(failed),
            "failed": dg.MetadataValue.md("\n".join(lines)) if lines else "none",
            "summary": dg.MetadataValue.table(
                [dg.TableRecord(dict(zip(COLUMNS, row.texts(), strict=True))) for row in rows],
                dg.TableSchema([dg.TableColumn(name) for name in COLUMNS]),
            ),
            "losses": picture_of_universe(report),
            **verdict(
                in_trouble={f"{o.ticker} {o.part}": f"{o.ticker} {o.part}: {o.reason}" for o in failed},
                well=[f"{o.ticker} {o.part}" for o in report.outcomes if o.status != "failed"],
            ),
        },
    )
