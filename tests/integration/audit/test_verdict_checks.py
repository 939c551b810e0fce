"""Verdicts and lifecycle actions in the chain: altered ones, and verdicts that do not follow from their backtest."""

from datetime import date

import pytest

from ldtm_lib.audit.sealing import create_seal
from ldtm_lib.audit.verify import verify
from ldtm_lib.registry.lifecycle import retire
from ldtm_lib.sessions import Calendar
from tests.integration.registry.registry_fixtures import Registry, bars, registry, small_settings, windows

__all__ = ["bars", "registry", "small_settings", "windows"]

MONDAY, TUESDAY = date(2012, 12, 3), date(2012, 12, 4)
REHASHED = """update ledger_event e set leaf = verdict_leaf(e.event_id, v) from gate_verdict v
    where e.event = 'verdict' and v.verdict_id = e.subject_id"""
BBB_PASSES = """update gate_verdict set passed = true, rules = (
        select jsonb_agg(rule || '{"passed": true}') from jsonb_array_elements(rules) rule)
    where ticker = 'BBB'"""


@pytest.fixture
def judged(registry: Registry) -> Registry:
    """AAA was promoted and retired by a person, BBB was not promoted, and CCC was never trained."""
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.candidate("BBB", MONDAY, tested=registry.bad)
    registry.gate("AAA", "BBB", "CCC")
    with registry.database.transaction() as conn:
        retire(conn, "AAA", requested_by="ada", why="a test asks for it")
        create_seal(conn)
    return registry


def alter(registry: Registry, *statements: str) -> None:
    """Change rows as the owner of the tables, past all triggers."""
    tables = ("gate_verdict", "lifecycle_action", "backtest_prediction", "ledger_event", "configuration")
    with registry.database.transaction() as conn:
        for table in tables:
            conn.execute(f"alter table {table} disable trigger all".encode())
        for statement in statements:
            conn.execute(statement.encode())
        for table in tables:
            conn.execute(f"alter table {table} enable trigger all".encode())


def messages(registry: Registry, calendar: Calendar) -> list[str]:
    """What a verification says of events."""
    report = verify(registry.database, calendar)
    return [found.message for found in report.discrepancies if found.event_id is not None]


def test_verdicts_and_lifecycle_actions_are_events_and_verdicts_are_computed_again(
    judged: Registry, calendar: Calendar
) -> None:
    report = verify(judged.database, calendar)
    assert report.discrepancies == ()
    assert (report.num_verdicts, report.num_other_verdicts) == (2, 0)
    events = judged.rows("select event from ledger_event order by event_id")
    kinds = [kind for (kind,) in events]
    assert kinds[0] == "configuration"
    assert [kinds.count(kind) for kind in ("configuration", "verdict", "lifecycle")] == [1, 3, 1]
    assert kinds.index("verdict") < kinds.index("service"), "an entry into service names its verdict"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (BBB_PASSES, "the verdict 2 on BBB (event 3) was altered after it was recorded"),
        ("delete from gate_verdict where ticker = 'CCC'", "the verdict 3 on CCC (event 4) was recorded and is missing"),
        (
            "insert into gate_verdict (ticker, passed, rules) values ('CCC', false, '[]')",
            "the verdict 4 on CCC was never recorded as an event",
        ),
        (
            "update gate_verdict set rules = '[5]' where ticker = 'BBB'",
            "the verdict 2 on BBB (event 3) was altered after it was recorded",
        ),
        ("update lifecycle_action set why = 'it was worse'", "the lifecycle action 1 on AAA (event "),
        ("update gate_verdict set evidence = null where ticker = 'AAA'", "the verdict 1 on AAA (event 2) was altered"),
        (
            "update ledger_event set subject_id = 2 where event = 'verdict' and subject_id = 1",
            "the verdict 2 on AAA (event 2) was recorded and is missing",
        ),
    ],
)
def test_a_verdict_or_a_lifecycle_action_that_was_altered_is_found(
    judged: Registry, calendar: Calendar, statement: str, message: str
) -> None:
    alter(judged, statement)
    found = verify(judged.database, calendar).discrepancies
    assert any(each.message.startswith(message) for each in found), found


def test_a_verdict_altered_with_its_hash_does_not_follow_from_its_backtest(
    judged: Registry, calendar: Calendar
) -> None:
    alter(judged, BBB_PASSES, REHASHED)
    message = (
        "the verdict 2 on BBB (event 3) does not follow from the forecasts of its backtest and the bounds on record"
    )
    assert message in messages(judged, calendar)


def test_evidence_altered_with_its_hash_does_not_follow_from_its_backtest(judged: Registry, calendar: Calendar) -> None:
    luckier = "update gate_verdict set evidence = evidence || '{\"timing_p\": 0.0001}' where ticker = 'BBB'"
    alter(judged, luckier, REHASHED)
    (message,) = messages(judged, calendar)
    assert message.startswith("the verdict 2 on BBB (event 3) does not follow from the forecasts of its backtest")


def test_forecasts_of_a_backtest_that_were_altered_are_found(judged: Registry, calendar: Calendar) -> None:
    better = """update backtest_prediction set next_day_pred = next_day_actual
        from backtest where backtest.backtest_id = backtest_prediction.backtest_id and ticker = 'BBB'"""
    alter(judged, better)
    (message,) = messages(judged, calendar)
    assert message.startswith("the verdict 2 on BBB (event 3) does not follow from the forecasts of its backtest")


def test_figures_that_differ_in_their_last_bits_are_the_same(judged: Registry, calendar: Calendar) -> None:
    nudged = """update gate_verdict set rules = jsonb_set(rules, '{1,figure}',
        to_jsonb((rules -> 1 ->> 'figure')::double precision * (1 + 1e-14))) where ticker = 'BBB'"""
    alter(judged, nudged, REHASHED)
    assert messages(judged, calendar) == []


def test_the_strict_gate_is_computed_again_with_the_comparisons_on_record(
    registry: Registry, calendar: Calendar
) -> None:
    strict = registry.settings.replace(gate=registry.settings.gate.replace(strict=True))
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA", settings=strict)
    assert verify(registry.database, calendar).discrepancies == ()
    eased = """update gate_verdict set rules = (
        select jsonb_agg(case rule ->> 'rule' when 'timing' then rule || '{"figure": 0.0001}' else rule end)
        from jsonb_array_elements(rules) rule)"""
    alter(registry, eased, REHASHED)
    assert any("does not follow from" in message for message in messages(registry, calendar))


def test_a_verdict_is_judged_by_the_bounds_of_its_own_configuration(registry: Registry, calendar: Calendar) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    demanding = registry.settings.replace(gate=registry.settings.gate.replace(min_direction_accuracy=0.6))
    registry.gate("AAA", settings=demanding)
    registry.gate("AAA")
    assert registry.rows("select configuration_id, passed from gate_verdict order by verdict_id") == [
        (1, False),
        (2, True),
    ]
    report = verify(registry.database, calendar)
    assert (report.discrepancies, report.num_verdicts) == ((), 2)


def test_a_verdict_by_settings_of_another_version_is_counted_apart(registry: Registry, calendar: Calendar) -> None:
    registry.candidate("AAA", MONDAY, tested=registry.good)
    registry.gate("AAA")
    alter(
        registry,
        "update configuration set settings = replace(settings, 'min_folds', 'fewest_folds')",
        "update configuration set settings_sha256 = encode(sha256(convert_to(settings, 'UTF8')), 'hex')",
        "update ledger_event set leaf = configuration_leaf(event_id, c) from configuration c where subject_id = 1"
        " and event = 'configuration'",
    )
    report = verify(registry.database, calendar)
    assert (report.num_verdicts, report.num_other_verdicts) == (0, 1)
    assert messages(registry, calendar) == []


def test_verdicts_and_actions_of_before_have_no_event_and_are_no_discrepancy(
    judged: Registry, calendar: Calendar
) -> None:
    """As in a record whose first verdicts were made before the chain held them."""
    early = "delete from ledger_event where event in ('verdict', 'lifecycle')"
    numbered = """update ledger_event e set event_id = n.number from (
        select event_id, row_number() over (order by event_id) - 1 as number from ledger_event) n
        where n.event_id = e.event_id"""
    alter(judged, early, numbered)
    found = messages(judged, calendar)
    assert not [message for message in found if "verdict" in message or "lifecycle" in message], found
