"""The events of the chain: the fields of each kind, and functions that read events back from the tables.

docs/record-format.md lists the same fields for readers without this code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ldtm_lib.audit.encoding import Field, Value, encode, leaf_sha256
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.sessions import HORIZONS

_OF_A_ROW = (Field("run_date", "date"), Field("simulation_id", "int8"))
_OF_A_HORIZON = (*_OF_A_ROW, Field("horizon", "text"), Field("target_session", "date"))
_SHA256S = tuple(Field(f"{of}_sha256", "text") for of in ("architecture", "recipe", "data", "file"))

FIELDS: dict[str, tuple[Field, ...]] = {
    "forecast": (
        *_OF_A_ROW,
        Field("recorded_at", "timestamptz"),
        Field("kind", "text"),
        Field("next_day_session", "date"),
        Field("next_monday_session", "date"),
        Field("one_month_session", "date"),
        Field("run_date_close", "float8"),
        Field("next_day_pred", "float8"),
        Field("next_monday_pred", "float8"),
        Field("one_month_pred", "float8"),
        Field("direction_pred", "text"),
        Field("abstained_reason", "utf8"),
        Field("checkpoint_id", "int8"),
        Field("model_version", "text"),
        Field("model_status", "text"),
        Field("checkpoint_sha256", "text"),
        Field("window_sha256", "text"),
        Field("bars_recorded_until", "timestamptz"),
    ),
    "fill": (
        *_OF_A_HORIZON,
        Field("actual", "float8"),
        Field("pct_error", "float8"),
        Field("direction_actual", "text"),
        Field("direction_correct", "bool"),
        Field("filled_at", "timestamptz"),
    ),
    "void": (
        *_OF_A_HORIZON,
        Field("reason", "utf8"),
        Field("wait_sessions", "int8"),
        Field("voided_at", "timestamptz"),
    ),
    "restatement": (
        *_OF_A_HORIZON,
        Field("bar_recorded_at", "timestamptz"),
        Field("actual", "float8"),
        Field("restated_actual", "float8"),
        Field("detected_at", "timestamptz"),
    ),
    "promotion": (
        Field("checkpoint_id", "int8"),
        Field("version", "text"),
        Field("trained_on", "date"),
        *_SHA256S,
        Field("activated_at", "timestamptz"),
    ),
    "retirement": (Field("checkpoint_id", "int8"), Field("version", "text"), Field("retired_at", "timestamptz")),
    "service": (Field("first_session", "date"), Field("verdict_id", "int8"), Field("entered_at", "timestamptz")),
    "simulation": (
        Field("simulation_id", "int8"),
        Field("started_at", "timestamptz"),
        Field("origin", "utf8"),
        Field("first_session", "date"),
        Field("last_session", "date"),
        Field("retrain_every", "int8"),
        Field("settings_sha256", "text"),
        Field("tickers", "text"),
    ),
    "configuration": (
        Field("configuration_id", "int8"),
        Field("installation_id", "text"),
        Field("tickers", "text"),
        Field("retired", "utf8"),
        Field("settings_sha256", "text"),
        Field("recorded_at", "timestamptz"),
    ),
    "verdict": (
        Field("verdict_id", "int8"),
        Field("trained_on", "date"),
        Field("checkpoint_id", "int8"),
        Field("backtest_id", "int8"),
        Field("configuration_id", "int8"),
        Field("passed", "bool"),
        Field("rules", "utf8"),
        Field("evidence", "utf8"),
        Field("multiple_testing", "utf8"),
        Field("decided_at", "timestamptz"),
    ),
    "lifecycle": (
        Field("action_id", "int8"),
        Field("action", "text"),
        Field("checkpoint_id", "int8"),
        Field("requested_by", "utf8"),
        Field("database_role", "utf8"),
        Field("why", "utf8"),
        Field("recorded_at", "timestamptz"),
    ),
}
"""Fields after the head of an event of version 1, by kind."""
FORECASTS: dict[int, tuple[Field, ...]] = {1: FIELDS["forecast"]}
"""Fields after the head of a forecast, by version of the record format."""
FORECASTS[2] = (
    *FORECASTS[1],
    Field("volatility", "float8"),
    Field("neutral_band", "float8"),
    *(
        Field(f"{horizon}_{end}_{level}", "float8")
        for horizon in HORIZONS
        for level in (80, 95)
        for end in ("low", "high")
    ),
)
FORECASTS[3] = (*FORECASTS[2], Field("backend", "text"))
NUMBERED = ("configuration", "verdict", "lifecycle")
"""Events whose row has a number of its own, the first of their fields."""
NAMES = {"lifecycle": "lifecycle action"}
"""Names in words of the kinds of events whose word differs from the kind."""
HEAD = (Field("event_id", "int8"), Field("event", "text"), Field("ticker", "text"))


def fields_of(event: str, version: int) -> tuple[Field, ...]:
    """The fields of a kind of event in a version of the record format, the head first."""
    if event != "forecast":
        return (*HEAD, *FIELDS[event])
    return (*HEAD, *FORECASTS.get(version, FORECASTS[max(FORECASTS)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKey:
    """The place of an event in the chain, and its subject."""

    event_id: int
    event: str
    version: int
    """Version of the record format; only forecasts have later versions than 1."""
    ticker: str | None
    """None for a simulation or a configuration, which concern many tickers."""
    run_date: date | None
    number: int
    """Number of its simulation, or of the configuration, verdict or lifecycle action; 0 for an event without one."""
    horizon: str | None
    leaf: bytes
    """The leaf on record."""

    @property
    def about(self) -> tuple[str, str | None, date | None, str | None, int]:
        """The arguments of `subject`."""
        return self.event, self.ticker, self.run_date, self.horizon, self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event with the values that the tables have now."""

    key: EventKey
    values: tuple[Value, ...]
    """In the order of `fields`."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the event, the head first."""
        return fields_of(self.key.event, self.key.version)

    def leaf_at(self, event_id: int) -> bytes:
        """The leaf that the event would have at a place of the chain."""
        return leaf_sha256(encode(self.fields, (event_id, *self.values[1:])))

    @property
    def is_intact(self) -> bool:
        """True if the tables have the values that the chain recorded."""
        return self.leaf_at(self.key.event_id) == self.key.leaf


def subject(event: str, ticker: str | None, run_date: date | None, horizon: str | None, number: int = 0) -> str:
    """The subject of an event in words, such as `the next day fill of AAPL on 2013-01-02`.

    `number` is that of its simulation, or of the configuration, verdict or lifecycle action.
    """
    named = NAMES.get(event, event)
    if ticker is None:
        return f"the {named} {number}"
    if event in NUMBERED:
        return f"the {named} {number} on {ticker}"
    of_horizon = f"{horizon.replace('_', ' ')} " if horizon else ""
    on = f" on {run_date}" if run_date else ""
    by = f" by simulation {number}" if number else ""
    return f"the {of_horizon}{named} of {ticker}{on}{by}"


def name(conn: Connection, event_id: int) -> str:
    """The subject of an event in words; `missing` for an event that is not on record."""
    row = conn.execute(query("audit.event"), {"event_ids": [event_id]}).fetchone()
    if row is None:
        return "missing"
    _, event, _, ticker, run_date, number, horizon, *_ = row
    return subject(event, ticker, run_date, horizon, number)


def of_forecast(conn: Connection, ticker: str, run_date: date, simulation_id: int) -> tuple[list[Event], int]:
    """The events of the forecast of a ticker and run date and of its later changes, in the order of the chain.

    `simulation_id` is 0 for the row of a daily run. The second value is the number of these events on record; a shorter
    list means that rows are missing.
    """
    asked = {"ticker": ticker, "run_date": run_date, "simulation_id": simulation_id}
    ids = conn.execute(query("audit.events_of_forecast"), asked).fetchall()
    return read(conn, [event_id for (event_id,) in ids]), len(ids)


def read(conn: Connection, event_ids: Sequence[int]) -> list[Event]:
    """Events with the values that the tables have now, without those whose row is missing. One statement per event."""
    events: list[Event] = []
    recorded = {
        "forecast": query("audit.recorded_forecast"),
        "fill": query("audit.recorded_fill"),
        "void": query("audit.recorded_void"),
        "restatement": query("audit.recorded_restatement"),
        "promotion": query("audit.recorded_promotion"),
        "retirement": query("audit.recorded_retirement"),
        "service": query("audit.recorded_service"),
        "simulation": query("audit.recorded_simulation"),
        "configuration": query("audit.recorded_configuration"),
        "verdict": query("audit.recorded_verdict"),
        "lifecycle": query("audit.recorded_lifecycle"),
    }
    keys = conn.execute(query("audit.event"), {"event_ids": list(event_ids)}).fetchall()
    for event_id, event, version, ticker, run_date, number, horizon, vintage, checkpoint_id, leaf in keys:
        asked = {
            "ticker": ticker,
            "run_date": run_date,
            "number": number,
            "horizon": horizon,
            "vintage": vintage,
            "checkpoint_id": checkpoint_id,
        }
        row = conn.execute(recorded[event], asked).fetchone() if event in recorded else None
        if row is None:
            continue
        has_number = run_date is not None or event == "simulation" or event in NUMBERED
        known = [
            value for value in (run_date, number if has_number else None, horizon, checkpoint_id) if value is not None
        ]
        key = EventKey(
            event_id=event_id,
            event=event,
            version=version,
            ticker=ticker,
            run_date=run_date,
            number=number,
            horizon=horizon,
            leaf=leaf,
        )
        values = (event_id, event, ticker, *known, *row)[: len(fields_of(event, version))]
        events.append(Event(key=key, values=values))
    return events
