"""Tonight: the newest run date with its directions, abstentions and whether rows were in time."""

from datetime import date, timedelta

from ldtm_dashboard.frames.tonight import ABSTAINED, tonight
from ldtm_dashboard.reading import Reader
from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from tests.integration.ledger_rows import LedgerRows

RUN_DATE = date(2013, 1, 11)


def test_an_empty_record_has_no_tonight(reader: Reader) -> None:
    with reader.view() as conn:
        assert tonight(conn) is None


def test_rows_of_daily_runs_go_before_simulated_ones(conn: Connection, reader: Reader, calendar: Calendar) -> None:
    rows = LedgerRows(conn, calendar)
    rows.forecast("AAPL", RUN_DATE)
    conn.commit()
    with reader.view() as read:
        found = tonight(read)
    assert found is not None
    assert (found.kind, found.rows["in_time"].to_list()) == ("simulation 1", ["simulated"])
    rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    rows.forecast("AAPL", RUN_DATE, kind="live", direction="bearish", preds=(99.0, 98.0, 97.0))
    rows.abstention("MSFT", RUN_DATE, kind="live")
    conn.commit()
    with reader.view() as read:
        found = tonight(read)
    assert found is not None
    assert (found.kind, found.run_date, found.num_late) == ("live", RUN_DATE, 0)
    assert found.counts == {"▲ bullish": 0, "● neutral": 0, "▼ bearish": 1, ABSTAINED: 1}
    assert found.targets["one month"] == date(2013, 2, 12)
    aapl, msft = found.rows.iter_rows(named=True)
    assert (aapl["direction"], aapl["next_day"], round(aapl["next_day_change"], 9)) == ("▼ bearish", 99.0, -1.0)
    assert (aapl["in_time"], msft["reason"], msft["next_day"]) == ("✓ in time", "has no active model", None)


def test_a_late_row_is_counted_and_marked(conn: Connection, reader: Reader, calendar: Calendar) -> None:
    LedgerRows(conn, calendar).forecast("AAPL", RUN_DATE, kind="late")
    conn.commit()
    with reader.view() as read:
        found = tonight(read)
    assert found is not None
    assert (found.num_late, found.rows["in_time"].to_list()) == (1, ["✗ late"])
