"""Which active models fell below the gate, from live rows in PostgreSQL."""

from datetime import date

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.degradation import ModelRecord, degraded_models
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import GateConfig
from ldtm_lib.statistics.sequential import excess, shortfall
from tests.integration.gate_fixtures import record_action
from tests.integration.ledger.live_record import FIRST, TRAINED_ON, calls, put_live
from tests.integration.ledger_rows import LedgerRows

GATE = GateConfig()


def records(conn: Connection, significance: float = 0.05) -> dict[str, ModelRecord]:
    return {record.ticker: record for record in degraded_models(conn, GATE, significance=significance)}


def test_every_active_model_is_listed_and_the_degraded_ones_are_named_with_their_reason(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    ids = {t: ledger_rows.promoted(t, TRAINED_ON) for t in ("AAPL", "FB", "IBM", "MSFT", "NEW")}
    bad, fair = [*calls(60, 60), *[False] * 35], calls(62, 58)
    days = put_live(conn, calendar, "AAPL", ids["AAPL"], bad)
    put_live(conn, calendar, "IBM", ids["IBM"], fair)
    put_live(conn, calendar, "MSFT", ids["MSFT"], [None] * 30, errors=9.0)
    put_live(conn, calendar, "FB", ids["FB"], [None, None])
    ledger_rows.candidate("GOOG", TRAINED_ON)
    found = records(conn)
    assert list(found) == ["AAPL", "FB", "IBM", "MSFT", "NEW"]
    assert {t for t, record in found.items() if record.is_degraded} == {"AAPL", "MSFT"}

    aapl, evidence = found["AAPL"], shortfall(np.array(bad), 0.52)
    assert (aapl.version, aapl.checkpoint_id) == ("v1.2011-12-30", ids["AAPL"])
    assert (aapl.first_run_date, aapl.last_run_date) == (days[0], days[-1])
    assert (aapl.num_filled, aapl.num_directional, aapl.num_correct) == (155, 155, 60)
    assert aapl.accuracy == pytest.approx(60 / 155)
    assert (aapl.accuracy_low, aapl.accuracy_high) == pytest.approx(proportion_confint(60, 155, method="wilson"))
    assert aapl.next_day_error == pytest.approx(1.0)
    assert aapl.direction_evidence == pytest.approx(np.exp(evidence.log_e))
    assert (aapl.error_evidence, aapl.evidence_needed) == (1.0, 40.0)
    above = float(aapl.reason.removesuffix("%").rsplit(" ", 1)[1]) / 100
    assert evidence.p_value <= above <= 1.1 * evidence.p_value, "rounded up to two digits"
    assert aapl.reason.startswith(
        f"AAPL v1.2011-12-30 was right in 60 of 155 calls since {FIRST}, 38.7%; a model that meets the gate's 52% "
        "would do as badly at any time with probability below "
    )

    assert found["MSFT"].error_evidence == pytest.approx(np.exp(excess(np.full(30, 9.0), 5.0).log_e))
    assert (found["MSFT"].direction_evidence, found["MSFT"].accuracy) == (1.0, None)
    assert found["MSFT"].reason.startswith(
        f"MSFT v1.2011-12-30 missed the next day's price by 9.00% on average over 30 forecasts since {FIRST}; a model "
        "that meets the gate's bound of 5% would be as far off at any time with probability below 0.0"
    )
    assert (found["IBM"].is_degraded, found["IBM"].reason.split(";")[0]) == (
        False,
        f"IBM v1.2011-12-30 was right in 62 of 120 calls since {FIRST}, 51.7%",
    )
    assert found["FB"].reason == f"FB v1.2011-12-30 named no direction in 2 live forecasts since {FIRST}"
    assert found["NEW"].reason == "NEW v1.2011-12-30 has no live forecast with an actual yet"
    assert (found["NEW"].num_filled, found["NEW"].accuracy_low, found["NEW"].next_day_error) == (0, None, None)


def test_half_of_the_significance_is_for_each_test(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    wrong = [False] * 7
    put_live(conn, calendar, "AAPL", ledger_rows.promoted("AAPL", TRAINED_ON), wrong)
    p_value = shortfall(np.array(wrong), 0.52).p_value
    for significance, is_degraded in ((2.001 * p_value, True), (1.999 * p_value, False)):
        (record,) = records(conn, significance).values()
        assert (record.is_degraded, record.evidence_needed) == (is_degraded, 2 / significance)


def test_a_model_that_was_found_degraded_stays_so_and_its_reason_tells_both_records(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    outcomes = [False] * 12 + [True] * 100
    days = put_live(conn, calendar, "AAPL", ledger_rows.promoted("AAPL", TRAINED_ON), outcomes)
    (record,) = records(conn).values()
    assert record.is_degraded
    assert (
        f"was right in 0 of 12 calls from {FIRST} to {days[11]}, 0.0%, and by now in 100 of 112 calls" in record.reason
    )
    conn.rollback()
    id_of = ledger_rows.promoted("AAPL", TRAINED_ON)
    put_live(conn, calendar, "AAPL", id_of, [None] * 40, errors=[9.0] * 30 + [0.0] * 10)
    (record,) = records(conn).values()
    assert record.is_degraded
    assert "missed the next day's price by 9.00% on average over 30 forecasts from 2012-01-03 to " in record.reason
    assert ", and by now by 6.75% on average over 40 forecasts since 2012-01-03; " in record.reason
    conn.rollback()
    put_live(conn, calendar, "AAPL", ledger_rows.promoted("AAPL", TRAINED_ON), outcomes[::-1])
    (record,) = records(conn).values()
    assert not record.is_degraded, "the same outcomes in another order"
    assert record.reason.endswith("89.3%; there is no evidence against the gate's 52%")


def test_only_live_rows_of_the_checkpoint_itself_count(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    old = ledger_rows.promoted("AAPL", TRAINED_ON)
    put_live(conn, calendar, "AAPL", old, [False] * 40)
    assert records(conn)["AAPL"].is_degraded
    new = ledger_rows.promoted("AAPL", date(2012, 2, 29))
    assert records(conn)["AAPL"].num_filled == 0, "another model's rows"
    put_live(conn, calendar, "AAPL", new, [False] * 40, kind="late", first=date(2012, 3, 1))
    put_live(conn, calendar, "AAPL", new, [False] * 40, kind="simulated", first=date(2012, 6, 1))
    assert records(conn)["AAPL"].num_filled == 0
    put_live(conn, calendar, "AAPL", new, [True, False], first=date(2012, 9, 4))
    record = records(conn)["AAPL"]
    assert (record.num_filled, record.num_correct, record.is_degraded) == (2, 1, False)


def test_a_version_that_was_brought_back_begins_anew(
    conn: Connection, calendar: Calendar, ledger_rows: LedgerRows
) -> None:
    first = ledger_rows.promoted("AAPL", TRAINED_ON)
    put_live(conn, calendar, "AAPL", first, [False] * 40)
    ledger_rows.promoted("AAPL", date(2012, 2, 29))
    conn.execute("update checkpoint set status = 'retired', retired_at = now() where status = 'active'")
    conn.execute(
        """insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256,
            file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch,
            validation_loss, duration_seconds, device, major, version, activated_at, restores)
        select ticker, 'active', trained_on, architecture_sha256, recipe_sha256, data_sha256, 'again.pt', file_sha256,
            seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds,
            device, major, 'v1.again', now(), checkpoint_id
        from checkpoint where checkpoint_id = %s""",
        (first,),
    )
    record_action(conn, "rollback")
    (record,) = records(conn).values()
    assert (record.version, record.num_filled, record.is_degraded) == ("v1.again", 0, False)
