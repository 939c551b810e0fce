"""The universe and the settings in the chain: one event at first and at every change, and what disagrees with them."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from ldtm_lib.audit.configurations import changes, configurations
from ldtm_lib.audit.proof import prove
from ldtm_lib.database.identity import installation_id
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.registry.configurations import model_settings_sha256, record_configuration
from ldtm_lib.settings import Settings
from tests.integration.audit.sealed_record import DAYS, TICKERS, Record
from tests.integration.audit.verifier import verifier

LAST = DAYS[-1]


@pytest.fixture
def settings() -> Settings:
    return Settings(path=Path("universe.toml"), tickers=(*TICKERS, "FB", "GOOG"))


@pytest.fixture
def configured(empty_record: Record, settings: Settings) -> Record:
    """Four sessions of forecasts after the first configuration."""
    record_configuration(empty_record.conn, settings)
    for day in DAYS:
        empty_record.daily_run(day)
    return empty_record


def test_the_first_event_of_a_record_names_its_installation_universe_and_settings(
    configured: Record, settings: Settings
) -> None:
    (only,) = configurations(configured.conn)
    assert only.event_id == 0
    assert only.installation_id == installation_id(configured.conn)
    assert tuple(only.tickers) == settings.tickers
    assert only.settings_sha256 == model_settings_sha256(settings)
    report = configured.verify()
    assert report.discrepancies == ()
    assert report.configurations == (only,)


def test_only_a_change_is_recorded_and_every_change_is(configured: Record, settings: Settings) -> None:
    conn = configured.conn
    record_configuration(conn, settings)
    record_configuration(conn, settings.replace(path=Path("other.toml"), alerts=settings.alerts))
    assert len(configurations(conn)) == 1, "nothing that forecasts depend on is another one"
    steps = [
        (settings.replace(tickers=(*settings.tickers, "NVDA")), ["added NVDA"]),
        (settings, ["removed NVDA, which had not entered service"]),
        (settings.replace(retired={"GOOG": LAST}), [f"GOOG leaves the universe on {LAST}"]),
        (settings, ["GOOG is back"]),
        (settings.replace(gate=settings.gate.replace(min_folds=9)), ["gate.min_folds 2 -> 9"]),
        (settings.replace(tickers=settings.tickers[::-1]), ["gate.min_folds 9 -> 2"]),
        (settings, ["the order of the tickers"]),
    ]
    for number, (changed, expected) in enumerate(steps, start=2):
        record_configuration(conn, changed)
        found = configurations(conn)
        assert len(found) == number
        assert changes(found[-2], found[-1]) == expected
    assert changes(None, configurations(conn)[0])[0].startswith("5 tickers, settings ")
    configured.seal()
    assert configured.verify().discrepancies == ()


def test_a_ticker_in_service_is_not_removed_from_the_file(configured: Record, settings: Settings) -> None:
    without = settings.replace(tickers=("AAPL", "MSFT", "GOOG"))
    with pytest.raises(ConfigurationError) as refused:
        record_configuration(configured.conn, without)
    assert str(refused.value) == (
        "universe.toml lacks tickers that are in service: FB, IBM. Add them to `tickers` again, and list their first "
        "session outside the universe under [retired]; their history stays"
    )
    record_configuration(configured.conn, settings.replace(retired={"IBM": LAST, "FB": LAST}))
    assert configurations(configured.conn)[-1].left == {"IBM": LAST, "FB": LAST}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("update configuration set tickers = array['AAPL']", "the configuration 1 (event 0) was altered"),
        ("update configuration set settings = '[]'", "the configuration 1 (event 0) was altered"),
        ("update configuration set recorded_at = '2013-01-01'", "the configuration 1 (event 0) was altered"),
        ("delete from configuration", "the configuration 1 (event 0) was recorded and is missing"),
        (
            "update installation set installation_id = gen_random_uuid()",
            "the configuration 1 is of installation ",
        ),
        (
            "insert into configuration select 2, installation_id, '{AAPL}', '{}', settings, settings_sha256, now()"
            " from configuration",
            "the configuration 2 was never recorded as an event",
        ),
    ],
)
def test_a_configuration_that_was_altered_is_found(configured: Record, statement: str, message: str) -> None:
    with configured.as_owner() as owner:
        owner.execute("alter table configuration disable trigger all")
        owner.execute("alter table installation disable trigger all")
        owner.execute(statement.encode())
    found = configured.messages()
    assert any(each.startswith(message) for each in found), found


def test_a_forecast_of_a_ticker_outside_of_the_universe_is_found(empty_record: Record, settings: Settings) -> None:
    record_configuration(empty_record.conn, settings.replace(tickers=("AAPL", "FB", "IBM")))
    empty_record.daily_run(LAST)
    (message,) = empty_record.altered_rows()
    assert message.startswith("the forecast of MSFT on 2013-01-07 (event ")
    assert message.endswith("is of a ticker that was not in the universe on record at that time")


def test_forecasts_of_before_the_first_configuration_are_of_none(record: Record, settings: Settings) -> None:
    record_configuration(record.conn, settings)
    record.seal()
    assert record.verify().discrepancies == ()


def test_a_session_without_a_row_of_a_ticker_in_service_is_noted(configured: Record, settings: Settings) -> None:
    """The configuration was recorded today: a row of today's session is due as soon as the next one has opened."""
    report = configured.verify()
    assert report.notes == (), "no session has passed since the first configuration"
    with configured.as_owner() as owner:
        owner.execute("alter table configuration disable trigger all")
        owner.execute("update configuration set recorded_at = '2013-01-02 22:00Z'")
        owner.execute("delete from snapshot where ticker = 'IBM' and run_date = '2013-01-04'")
    newest = configured.calendar.last_closed(configurations(configured.conn)[0].recorded_at + timedelta(days=5))
    assert newest == LAST
    notes = configured.verify().notes
    assert any(note.startswith("IBM was in service and has no row for ") for note in notes)
    (ibm,) = [note for note in notes if note.startswith("IBM")]
    (msft,) = [note for note in notes if note.startswith("MSFT")]
    assert "sessions: 2013-01-04, 2013-01-08, 2013-01-09, ..." in ibm
    assert "sessions: 2013-01-08, 2013-01-09, 2013-01-10, ..." in msft


def test_a_departure_that_was_recorded_after_the_fact_is_noted(configured: Record, settings: Settings) -> None:
    record_configuration(configured.conn, settings.replace(retired={"IBM": date(2026, 3, 2)}))
    configured.conn.commit()
    (note,) = configured.verify().notes
    assert note.startswith("IBM left the universe on 2026-03-02, recorded at ")
    assert note.endswith(" had closed")
    ahead = configured.calendar.offset(configured.calendar.days[-1].item(), 0)
    record_configuration(configured.conn, settings.replace(retired={"IBM": date(2026, 3, 2), "FB": ahead}))
    configured.conn.commit()
    assert len(configured.verify().notes) == 1, "a departure ahead is none"
    assert replace(configurations(configured.conn)[-1], retired={"IBM": "soon"}).left == {}


def test_a_proof_names_the_installation_and_the_universe_of_its_forecast(
    configured: Record, settings: Settings
) -> None:
    later = settings.replace(gate=settings.gate.replace(min_folds=9))
    record_configuration(configured.conn, later)
    configured.seal()
    proof = prove(configured.conn, "IBM", DAYS[1])
    assert proof.num_unsealed == 0
    says = [event["says"] for event in proof.document["events"]]
    assert [said["event"] for said in says] == ["forecast", "fill", "fill", "configuration"]
    assert says[-1]["installation_id"] == installation_id(configured.conn)
    assert says[-1]["configuration_id"] == 1, "the one in force, not the newest"
    assert verifier.check(proof.document)
    other = json.loads(json.dumps(proof.document).replace(json.dumps(",".join(settings.tickers)), '"AAPL,FB"'))
    with pytest.raises(verifier.NotProven, match="is not the universe of IBM at that time"):
        verifier.check(other)
