"""Checks of every row of the record against its event in the chain, and of its figures against their source values.

PostgreSQL joins rows and events; hashes, dates and figures are computed by this program, so that replaced functions of
the server have no effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from ldtm_lib.audit import events
from ldtm_lib.audit.actual_checks import actuals_without_bar
from ldtm_lib.audit.configurations import Configuration, configurations, is_unlisted, missing_rows
from ldtm_lib.audit.discrepancies import Discrepancy, What, of_event
from ldtm_lib.audit.encoding import Field
from ldtm_lib.audit.figures import is_wrong_direction, is_wrong_fill
from ldtm_lib.audit.hashed_rows import HashedSelect, UnreadableRows, read_hashed
from ldtm_lib.audit.live_forecasts import (
    EARLIEST,
    LATEST,
    NO_LIVE_FORECASTS,
    LiveForecasts,
    Moments,
    at_places,
    microseconds,
)
from ldtm_lib.audit.seal import Seal
from ldtm_lib.audit.verdict_checks import checked_verdicts
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.definitions import altered_definitions
from ldtm_lib.database.identity import installation_id
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import ONE_MONTH_SESSIONS, Calendar
from ldtm_lib.wording import moment_text, moment_texts

LARGEST = 100
"""Largest number of listed discrepancies of one kind of event."""
ABOUT = (
    Field("of_ticker", "text"),
    Field("of_run_date", "date"),
    Field("of_simulation", "int8"),
    Field("of_horizon", "text"),
    Field("is_there", "bool"),
)
"""Columns of every kind in addition to the hashed fields: the event's subject, and `is_there`, true if it has a row."""
FORECAST_INPUTS = (
    Field("pred", "float8"),
    Field("close", "float8"),
    Field("direction_pred", "text"),
    Field("bars_recorded_until", "timestamptz"),
)
"""The columns of a fill that belong to its forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChecks:
    """The findings of comparing every row with its event."""

    found: list[Discrepancy]
    notes: tuple[str, ...]
    """Remarks that are not failures."""
    live: LiveForecasts
    """The live rows that are forecasts."""
    configurations: tuple[Configuration, ...]
    """The oldest first."""
    num_verdicts: int
    """Verdicts that were computed again from the forecasts of their backtests."""
    num_other_verdicts: int
    """Verdicts on a backtest that were not computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of event and its rows."""

    event: str
    statement: bytes
    happened_at: str
    """The field with the moment of the event, which is between two seals."""
    beside: tuple[Field, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def select(self) -> HashedSelect:
        """The statement with the fields that it sends."""
        versions = events.FORECASTS if self.event == "forecast" else (1,)
        return HashedSelect(
            statement=self.statement,
            beside=(*ABOUT, *self.beside),
            fields={version: events.fields_of(self.event, version) for version in versions},
            kept=frozenset({"event_id", self.happened_at, *self.kept}),
        )


FORECASTS = Kind(
    event="forecast",
    statement=query("audit.hashed_forecasts"),
    happened_at="recorded_at",
    beside=(Field("has_parts_of_actuals", "bool"), Field("has_grounds", "bool")),
    kept=(
        *(
            "ticker",
            "simulation_id",
            "run_date",
            "kind",
            "abstained_reason",
            "next_day_session",
            "next_monday_session",
            "one_month_session",
        ),
        *("run_date_close", "next_day_pred", "direction_pred", "neutral_band"),
    ),
)
FILLS = Kind(
    event="fill",
    statement=query("audit.hashed_fills"),
    happened_at="filled_at",
    beside=FORECAST_INPUTS,
    kept=(
        "ticker",
        "run_date",
        "horizon",
        "target_session",
        "actual",
        "pct_error",
        "direction_actual",
        "direction_correct",
    ),
)
OTHERS = (
    Kind(event="void", statement=query("audit.hashed_voids"), happened_at="voided_at"),
    Kind(event="restatement", statement=query("audit.hashed_restatements"), happened_at="detected_at"),
    Kind(event="promotion", statement=query("audit.hashed_promotions"), happened_at="activated_at"),
    Kind(event="retirement", statement=query("audit.hashed_retirements"), happened_at="retired_at"),
    Kind(event="service", statement=query("audit.hashed_service_entries"), happened_at="entered_at"),
    Kind(event="simulation", statement=query("audit.hashed_simulations"), happened_at="started_at"),
    Kind(event="lifecycle", statement=query("audit.hashed_lifecycle_actions"), happened_at="recorded_at"),
    Kind(event="configuration", statement=query("audit.hashed_configurations"), happened_at="recorded_at"),
)
VERDICTS = Kind(event="verdict", statement=query("audit.verdicts"), happened_at="decided_at")


def check_rows(conn: Connection, chain: Sequence[Seal], calendar: Calendar) -> RowChecks:
    """Find altered, missing, added, reordered, misdated, doubled or wrongly live rows; at most 100 of each kind."""
    days, opens, closes = (list(column) for column in zip(*calendar.schedule(), strict=True))
    altered, called_off = _calendar(conn, {"sessions": days, "opens": opens, "closes": closes})
    closes_at = pl.DataFrame({"target_session": days, "closes_at": [microseconds(moment) for moment in closes]})
    in_force = configurations(conn)
    found = _altered_configurations(conn, in_force)
    notes = [f"session {day} was called off by the exchange after it was recorded" for day in called_off]
    live = NO_LIVE_FORECASTS
    try:
        opens_at = np.array([microseconds(moment) for moment in opens], dtype=np.int64)
        rows = read_hashed(conn, FORECASTS.select)
        forecasts, live = _checked_forecasts(rows, chain, calendar, opens_at, called_off, in_force)
        found += _listed(FORECASTS.event, forecasts)
        if chain:
            notes += missing_rows(conn, rows, in_force, calendar, chain[-1].sealed_at)
        found += _listed(FILLS.event, _checked_fills(conn, chain, closes_at))
        for kind in OTHERS:
            rows = read_hashed(conn, kind.select)
            found += _listed(kind.event, _named(rows, [*_by_chain(rows, chain, kind)]))
    except UnreadableRows as error:
        message = f"the server sent {error}: the rows of the record cannot be read"
        found.append(Discrepancy(what="unreadable", message=message))
    verdicts = checked_verdicts(conn, in_force)
    misjudged: Finding = ("misjudged", verdicts.rows["is_wrong"])
    found += _listed(VERDICTS.event, _named(verdicts.rows, [*_by_chain(verdicts.rows, chain, VERDICTS), misjudged]))
    found = _reordered(conn, found)
    found += _missing_events(conn, chain)
    found += _doubled(conn)
    for event_id, event, ticker, run_date, simulation_id in conn.execute(query("audit.unknown_events")):
        found.append(of_event("unknown event", event_id, str(event), ticker, run_date, None, simulation_id))
    found += _surroundings(conn)
    return RowChecks(
        found=[*found, *altered],
        notes=tuple(notes),
        live=live,
        configurations=tuple(in_force),
        num_verdicts=verdicts.num_computed,
        num_other_verdicts=verdicts.num_not_computed,
    )


def _altered_configurations(conn: Connection, in_force: Sequence[Configuration]) -> list[Discrepancy]:
    """Configurations whose settings do not give their hash, or that belong to another installation."""
    here = installation_id(conn)
    found: list[Discrepancy] = []
    for each in in_force:
        if not each.has_its_settings:
            found.append(of_event("altered", each.event_id, "configuration", None, None, None, each.configuration_id))
        if each.installation_id != here:
            message = (
                f"the configuration {each.configuration_id} is of installation {each.installation_id}, and the record "
                f"is of {here}: the identity of one of them was changed"
            )
            found.append(Discrepancy(what="altered", event_id=each.event_id, message=message))
    return found


def _checked_forecasts(
    rows: pl.DataFrame,
    chain: Sequence[Seal],
    calendar: Calendar,
    opens_at: Moments,
    called_off: Sequence[date],
    in_force: Sequence[Configuration],
) -> tuple[pl.DataFrame, LiveForecasts]:
    missing, added, version, changed, misdated = _by_chain(rows, chain, FORECASTS)
    after = np.searchsorted(calendar.days, rows["run_date"].to_numpy().astype("datetime64[D]"), side="right")
    opened_at = pl.Series(at_places(opens_at, after, LATEST))
    is_live = (rows["kind"] == "live") & rows["abstained_reason"].is_null() & rows["event_id"].is_not_null()
    found = rows.with_columns(opened_at=opened_at).filter(is_live)
    live = LiveForecasts(
        event_ids=found["event_id"].to_numpy(), opened_at=found["opened_at"].to_numpy(), run_dates=found["run_date"]
    )
    checked = _named(
        rows,
        [
            missing,
            added,
            version,
            changed,
            ("mistargeted", _is_mistargeted(rows, after, calendar, called_off)),
            ("altered", rows["has_parts_of_actuals"]),
            misdated,
            ("late", (rows["kind"] == "live") & (rows["recorded_at"] >= opened_at)),
            ("miscalculated", is_wrong_direction(rows)),
            ("without grounds", ~rows["has_grounds"]),
            ("unlisted", is_unlisted(rows, in_force)),
        ],
    )
    return checked, live


def _checked_fills(conn: Connection, chain: Sequence[Seal], closes_at: pl.DataFrame) -> pl.DataFrame:
    rows = read_hashed(conn, FILLS.select)
    return _named(
        rows,
        [
            *_by_chain(rows, chain, FILLS),
            ("miscalculated", is_wrong_fill(rows)),
            ("without bar", actuals_without_bar(conn, rows, closes_at)),
        ],
    )


Finding = tuple[What, pl.Series]
"""A kind of discrepancy, and the rows that have it."""


def _by_chain(
    rows: pl.DataFrame, chain: Sequence[Seal], kind: Kind
) -> tuple[Finding, Finding, Finding, Finding, Finding]:
    """The faults that every kind of event can have: no row, no event, or a wrong version, leaf or moment."""
    sealed_at = np.array([microseconds(seal.sealed_at) for seal in chain], dtype=np.int64)
    ends = np.array([seal.first_event + seal.num_events for seal in chain], dtype=np.int64)
    seal = np.searchsorted(ends, rows["event_id"].fill_null(0).to_numpy(), side="right")
    not_before = pl.Series(at_places(np.insert(sealed_at, 0, EARLIEST), seal, EARLIEST))
    not_after = pl.Series(at_places(sealed_at, seal, LATEST))
    happened_at = rows[kind.happened_at]
    return (
        ("missing", ~rows["is_there"]),
        ("added", rows["event_id"].is_null()),
        ("unknown version", ~rows["version"].is_in([*kind.select.fields]).fill_null(value=False)),
        ("altered", ~rows["is_right"]),
        ("misdated", (happened_at < not_before) | (happened_at > not_after)),
    )


def _is_mistargeted(rows: pl.DataFrame, after: Any, calendar: Calendar, called_off: Sequence[date]) -> pl.Series:
    """True for rows whose target sessions are not those of the run date, unless the exchange called one off meanwhile.

    `after` is the number of sessions up to each run date.
    """
    none = np.datetime64("NaT")
    mondays = np.array([none, *calendar.next_mondays()], dtype=calendar.days.dtype)
    expected = {
        "next_day_session": at_places(calendar.days, after, none),
        "next_monday_session": at_places(mondays, after, none),
        "one_month_session": at_places(calendar.days, after + ONE_MONTH_SESSIONS - 1, none),
    }
    wrong = pl.Series(np.zeros(len(rows), dtype=bool))
    for name, sessions in expected.items():
        wrong |= rows[name].ne_missing(pl.Series(sessions).cast(pl.Date))
    for day in called_off:
        wrong &= ~((rows["run_date"] < day) & (rows["one_month_session"] >= day))
    return wrong


def _named(rows: pl.DataFrame, findings: Sequence[Finding]) -> pl.DataFrame:
    """The first rows with a finding, and the first of the findings that applies to each as `what`."""
    what = pl.Series(values=[None], dtype=pl.String).new_from_index(0, len(rows))
    for name, is_so in reversed(findings):
        what = what.zip_with(~is_so.fill_null(value=False), pl.Series([name]).new_from_index(0, len(rows)))
    found = rows.with_columns(what=what).filter(pl.col("what").is_not_null())
    return found.sort("event_id", "of_run_date", "of_ticker", "of_horizon", nulls_last=True).head(LARGEST)


def _listed(event: str, found: pl.DataFrame) -> list[Discrepancy]:
    columns = ("what", "event_id", "of_ticker", "of_run_date", "of_horizon", "of_simulation")
    return [
        of_event(what, event_id, event, ticker, run_date, horizon, simulation_id)
        for what, event_id, ticker, run_date, horizon, simulation_id in found.select(columns).iter_rows()
    ]


def _reordered(conn: Connection, found: list[Discrepancy]) -> list[Discrepancy]:
    """The discrepancies, with altered events that have the values of another altered event as reordered ones."""
    ids = [d.event_id for d in found if d.what == "altered" and d.event_id is not None]
    moved = {
        event.key.event_id: of_event("reordered", event.key.event_id, *event.key.about)
        for event in events.read(conn, ids)
        if any(event.leaf_at(at) == event.key.leaf for at in ids if at != event.key.event_id)
    }
    return [moved.get(d.event_id, d) if d.event_id is not None else d for d in found]


def _missing_events(conn: Connection, chain: Sequence[Seal]) -> list[Discrepancy]:
    """Places of the chain without an event."""
    num_events, end = conn.execute(query("audit.extent")).fetchone() or (0, 0)
    gaps = conn.execute(query("audit.gaps")).fetchall() if num_events < end else []
    sealed_end = chain[-1].first_event + chain[-1].num_events if chain else 0
    if end < sealed_end:
        gaps.append((end, sealed_end - 1))
    return [
        Discrepancy(
            what="missing",
            event_id=first,
            message=f"event {first} was recorded and is missing"
            if first == last
            else f"events {first} to {last} were recorded and are missing",
        )
        for first, last in gaps
    ]


def _doubled(conn: Connection) -> list[Discrepancy]:
    """Duplicate events about the same row, if there are more events than rows."""
    counts = conn.execute(query("audit.counts")).fetchall()
    if all(num_events <= num_rows for _, num_events, num_rows in counts):
        return []
    rows = conn.execute(query("audit.duplicates")).fetchall()
    return [of_event("doubled", event_id, *about) for event_id, *about in rows]


def _surroundings(conn: Connection) -> list[Discrepancy]:
    """Objects of the schema that could hide rows or change what a statement means, or that were altered."""
    hiding = [finding for (finding,) in conn.execute(query("audit.surroundings"))]
    found = [f"{finding}: the results of statements about it cannot be relied on" for finding in hiding]
    altered = altered_definitions(conn)
    found += [f"{clause}: rows can be written by rules other than those of LDTM" for clause in altered[:LARGEST]]
    return [Discrepancy(what="schema", message=message) for message in found]


def _calendar(conn: Connection, exchange: Mapping[str, object]) -> tuple[list[Discrepancy], list[date]]:
    """Sessions that have opened and differ in the database; separately, those that the exchange called off later."""
    altered: list[Discrepancy] = []
    called_off: list[date] = []
    for session, known, given in conn.execute(query("audit.calendar"), exchange):
        if given is None:
            called_off.append(session)
            continue
        message = (
            f"session {session} {_difference(known, given)} by exchange-calendars: "
            "the table trading_session was altered, or the package's history was corrected"
        )
        altered.append(Discrepancy(what="calendar", message=message))
    return altered, called_off


def _difference(known: datetime | None, given: datetime) -> str:
    """The difference between a session of the database, opened at `known`, and that of the exchange's calendar."""
    if known is None:
        return f"is missing in the database and opens at {moment_text(given)}"
    if known == given:
        return "closes at another time in the database than"
    here, there = moment_texts(known, given)
    return f"opens at {here} in the database and at {there}"
