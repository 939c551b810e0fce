"""Rules of the registry in the database: no promotion without the gate or a lifecycle action, whoever asks."""

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from tests.integration.ledger_rows import LedgerRows

FIRST, SECOND, THIRD = date(2013, 1, 2), date(2013, 1, 3), date(2013, 1, 4)
BACKTEST = """insert into backtest (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, plan_sha256)
    values ('AAPL', '2013-01-04', 'a', 'r', 'd', %s) returning backtest_id"""
FOLD = "insert into backtest_fold select %s, %s, '2012-01-03', '2012-01-04', '2012-12-28', 1, 1, 0, 1, 0.5"
FORECASTS = """insert into backtest_prediction
    select %s, %s, '2012-01-04'::date + n, 1, 2, 2, 2, 2, 2, 2 from generate_series(1, 50) n"""
COPIED = (
    *("ticker", "trained_on", "architecture_sha256", "recipe_sha256", "data_sha256", "file_sha256", "seed"),
    *("num_training_rows", "num_validation_rows", "num_epochs", "best_epoch", "validation_loss", "no_change_loss"),
    *("horizon_errors", "no_change_errors"),
    *("training_losses", "validation_losses", "duration_seconds", "device", "gpu_index", "vram_peak_mib", "leaks"),
    *("major",),
)
"""Of a network that comes back: all that was measured of it."""
ACTIVATE = (
    "update checkpoint set status = 'active', major = 1, version = 'v1.mine', file_name = 'mine.pt'"
    " where status = 'candidate'"
)
RETIRE = "update checkpoint set status = 'retired' where status = 'active'"
JUDGE = """insert into gate_verdict (ticker, trained_on, checkpoint_id, passed, rules)
    select ticker, trained_on, checkpoint_id, %s, '[]' from checkpoint where trained_on = '2013-01-04'"""
ORDER = """insert into lifecycle_action (ticker, action, checkpoint_id, requested_by, why)
    select ticker, %s, checkpoint_id, 'ada', 'it is worse' from checkpoint where version = %s"""


@pytest.fixture
def backtest_id(conn: Connection, calendar: Calendar) -> Iterator[int]:
    """AAPL with a version that retired, an active one, and a candidate whose backtest the gate refused."""
    rows = LedgerRows(conn, calendar)
    rows.promoted("AAPL", FIRST)
    rows.promoted("AAPL", SECOND)
    candidate_id = rows.candidate("AAPL", THIRD)
    (made,) = conn.execute(BACKTEST, ("p",)).fetchone() or (0,)
    conn.execute(FOLD, (made, 1))
    conn.execute(FORECASTS, (made, 1))
    conn.execute(
        "insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules)"
        " values ('AAPL', %s, %s, %s, false, '[]')",
        (THIRD, candidate_id, made),
    )
    conn.commit()
    yield made
    conn.rollback()


def restore(conn: Connection, **changed: object) -> None:
    """The retired version under a new one, with some columns otherwise."""
    names = ", ".join(COPIED)
    values = ", ".join(f"%({name})s" if name in changed else name for name in COPIED)
    query = f"""insert into checkpoint ({names}, restores, status, version, file_name)
        select {values}, checkpoint_id, 'active', 'v1.back', 'back.pt' from checkpoint where trained_on = %(first)s"""
    conn.execute(query.encode(), {"first": FIRST, **changed})


def test_folds_and_forecasts_come_with_their_backtest_within_any_savepoint(conn: Connection) -> None:
    (made,) = conn.execute(BACKTEST, ("p",)).fetchone() or (0,)
    with conn.transaction():
        conn.execute(FOLD, (made, 1))
        with conn.transaction():
            conn.execute(FORECASTS, (made, 1))
    with conn.transaction():
        (within,) = conn.execute(BACKTEST, ("q",)).fetchone() or (0,)
    conn.execute(FOLD, (within, 1))
    conn.commit()
    assert conn.execute("select count(*) from backtest_prediction").fetchone() == (50,)


def test_nothing_is_added_to_a_backtest_that_is_on_record(conn: Connection, backtest_id: int) -> None:
    said = rf"backtest {backtest_id} of AAPL is on record: nothing is added to it"
    for attack, fold in ((FOLD, 9), (FORECASTS.replace("2012-01-04", "2011-01-04"), 1)):
        with pytest.raises(psycopg.IntegrityError, match=said), conn.transaction():
            conn.execute(attack.encode(), (backtest_id, fold))
    with (
        pytest.raises(psycopg.IntegrityError, match=said),
        conn.cursor() as cursor,
        cursor.copy("copy backtest_prediction from stdin csv") as copy,
    ):
        copy.write(f"{backtest_id},1,2010-01-04,1,2,2,2,2,2,2,\n".encode())


def test_a_backtest_that_hides_among_new_ones_is_found(conn: Connection, backtest_id: int) -> None:
    (made,) = conn.execute(BACKTEST, ("q",)).fetchone() or (0,)
    with pytest.raises(psycopg.IntegrityError, match=f"backtest {backtest_id} of AAPL is on record"):
        conn.execute(
            "insert into backtest_fold select id, 9, '2012-01-03', '2012-01-04', '2012-12-28', 1, 1, 0, 1, 0.5"
            " from unnest(%s::bigint[]) id",
            ([made, backtest_id],),
        )


def test_a_backtest_of_before_takes_no_fold_and_no_caller_says_when_it_was_made(conn: Connection) -> None:
    forged = BACKTEST.replace("plan_sha256)", "plan_sha256, made_in, created_at)").replace(
        "%s)", "'p', %s::xid8, '2001-01-02')"
    )
    (made,) = conn.execute(forged.encode(), ("99999999",)).fetchone() or (0,)
    own, is_new = conn.execute(
        "select made_in = pg_current_xact_id(), created_at >= now() from backtest"
    ).fetchone() or (None, None)
    assert (own, is_new) == (True, True)
    conn.commit()
    conn.execute("alter table backtest disable trigger user")
    conn.execute("update backtest set made_in = null")
    with pytest.raises(psycopg.IntegrityError, match="nothing is added to it"):
        conn.execute(FOLD, (made, 1))


def test_a_verdict_is_dated_by_the_database(conn: Connection) -> None:
    conn.execute(
        "insert into gate_verdict (ticker, trained_on, passed, rules, decided_at)"
        " values ('AAPL', '2013-01-04', false, '[]', '2001-01-02')"
    )
    assert conn.execute("select decided_at >= now() from gate_verdict").fetchone() == (True,)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("'MSFT', c.trained_on, c.checkpoint_id, null, null", r"on MSFT names checkpoint \d+, which is no network of"),
        ("'AAPL', '2013-01-03', c.checkpoint_id, null, null", r"trained on bars up to 2013-01-03"),
        ("'AAPL', null, c.checkpoint_id, null, null", r"names checkpoint \d+, which is no network"),
        ("'AAPL', c.trained_on, c.checkpoint_id - 1, null, null", r"names checkpoint \d+, which is no network"),
        ("'MSFT', c.trained_on, null, b.backtest_id, null", r"names backtest \d+, which is not one of what checkpoint"),
        ("'ZZZ', c.trained_on, null, null, '{}'", "on ZZZ has evidence and names no backtest that shows it"),
    ],
)
def test_a_verdict_is_about_the_network_and_the_backtest_that_it_names(
    conn: Connection, backtest_id: int, columns: str, said: str
) -> None:
    query = f"""insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, evidence, passed, rules)
        select {columns}::jsonb, true, '[]' from checkpoint c, backtest b where c.trained_on = '2013-01-04'"""
    with pytest.raises(psycopg.IntegrityError, match=said):
        conn.execute(query.encode())


def test_a_verdict_names_no_backtest_of_another_network(conn: Connection, calendar: Calendar, backtest_id: int) -> None:
    with pytest.raises(psycopg.IntegrityError, match="names backtest"):
        conn.execute(
            "insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules)"
            " select ticker, trained_on, checkpoint_id, %s, true, '[]' from checkpoint where trained_on = '2013-01-03'",
            (backtest_id,),
        )


def test_a_network_is_promoted_only_after_it_passed_the_gate(conn: Connection, backtest_id: int) -> None:
    said = "checkpoint v1.mine of AAPL did not pass the gate and cannot be promoted: its newest verdict must say so"
    conn.execute(RETIRE)
    conn.execute(ACTIVATE)
    with pytest.raises(psycopg.IntegrityError, match=said):
        conn.commit()
    conn.execute(JUDGE, (True,))
    conn.execute(JUDGE, (False,))
    conn.execute(RETIRE)
    conn.execute(ACTIVATE)
    with pytest.raises(psycopg.IntegrityError, match=said):
        conn.commit()
    conn.execute(RETIRE)
    conn.execute(ACTIVATE)
    conn.execute(JUDGE, (True,))
    conn.commit()
    assert conn.execute("select version from checkpoint where status = 'active'").fetchone() == ("v1.mine",)


@pytest.mark.parametrize("status", ["active", "retired"])
def test_a_network_does_not_arrive_promoted(conn: Connection, backtest_id: int, status: str) -> None:
    if status == "active":
        conn.execute(RETIRE)
    names = ", ".join(COPIED[1:-1]).replace("file_sha256", "data_sha256 || 'x' as file_sha256")
    conn.execute(
        f"""insert into checkpoint (ticker, {", ".join(COPIED[1:-1])}, major, status, version, file_name)
        select ticker, {names}, 1, '{status}', 'v1.mine', 'mine.pt'
        from checkpoint where status = 'candidate'""".encode()
    )
    with pytest.raises(psycopg.IntegrityError, match=r"checkpoint v1.mine of AAPL did not pass the gate"):
        conn.commit()


def test_a_version_retires_for_a_successor_or_by_a_lifecycle_action(conn: Connection, backtest_id: int) -> None:
    said = "checkpoint v1.2013-01-03 of AAPL retired without a successor and without a retirement on record"
    conn.execute(RETIRE)
    with pytest.raises(psycopg.IntegrityError, match=said):
        conn.commit()
    conn.execute(RETIRE)
    conn.execute(ORDER, ("retirement", "v1.2013-01-03"))
    conn.commit()
    assert conn.execute("select count(*) from checkpoint where status = 'active'").fetchone() == (0,)


def test_a_version_does_not_come_and_go_in_one_transaction_without_an_action(
    conn: Connection, backtest_id: int
) -> None:
    conn.execute(RETIRE)
    conn.execute(ACTIVATE)
    conn.execute(JUDGE, (True,))
    conn.execute(RETIRE)
    conn.execute(ORDER, ("retirement", "v1.2013-01-03"))
    with pytest.raises(psycopg.IntegrityError, match=r"v1.mine of AAPL retired without a successor and without"):
        conn.commit()


def test_a_network_comes_back_by_a_lifecycle_action(conn: Connection, backtest_id: int) -> None:
    conn.execute(RETIRE)
    restore(conn)
    with pytest.raises(psycopg.IntegrityError, match=r"v1.back of AAPL was restored without a rollback on record"):
        conn.commit()
    conn.execute(RETIRE)
    restore(conn)
    conn.execute(ORDER, ("rollback", "v1.back"))
    conn.commit()
    assert conn.execute("select version from checkpoint where status = 'active'").fetchone() == ("v1.back",)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("num_training_rows", 2),
        ("num_validation_rows", 2),
        ("best_epoch", 0),
        ("validation_loss", 0.5),
        ("no_change_loss", 0.5),
        ("horizon_errors", [0.5, 0.5, 0.5]),
        ("no_change_errors", [0.5, 0.5, 0.5]),
        ("training_losses", [0.5]),
        ("validation_losses", [0.5]),
        ("duration_seconds", 2.0),
        ("device", "cuda"),
        ("gpu_index", 3),
        ("vram_peak_mib", 1.5),
        ("leaks", "{}"),
        ("num_epochs", 9),
        ("major", 2),
    ],
)
def test_a_network_comes_back_with_all_that_was_measured_of_it(
    conn: Connection, backtest_id: int, column: str, value: object
) -> None:
    conn.execute(RETIRE)
    with pytest.raises(psycopg.IntegrityError, match=r"v1.back of AAPL does not restore a retired network"):
        restore(conn, **{column: value})
