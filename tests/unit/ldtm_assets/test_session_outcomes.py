"""Outcomes of thousands of tickers as one partition a session: a bounded table, with the unusual ones in it."""

import dagster as dg

from ldtm_assets.materialization import Outcome
from ldtm_assets.session_outcomes import MOST_ROWS, gathered_by_session

DAY = "2026-11-20"


def test_the_table_is_bounded_and_begins_with_what_is_rare() -> None:
    done = {f"{DAY}|T{number:04}": {"close": 1234.5678901, "volume": 10_000} for number in range(1000)}
    done[f"{DAY}|T0777"] |= {"splits noticed": "2 for 1"}
    done[f"{DAY}|T0999"] = {"abstained": "too few bars"}
    outcome = gathered_by_session(Outcome(done=done, failed={f"{DAY}|BAD": "no bar"}, notes=["kept"]))
    (metadata,) = outcome.done.values()
    table = metadata["by ticker"]
    assert isinstance(table, dg.TableMetadataValue)
    assert len(table.records) == MOST_ROWS
    assert [row.data["ticker"] for row in table.records[:3]] == ["T0777", "T0999", "T0000"]
    assert table.records[2].data == {
        "ticker": "T0000",
        "close": "1234.568",
        "volume": "10,000",
        "splits noticed": "",
        "abstained": "",
    }
    assert metadata["not in this table"] == "800 tickers; `ldtm dashboard` shows all"
    assert (metadata["tickers"], metadata["failed"]) == (dg.MetadataValue.int(1000), dg.MetadataValue.int(1))
    assert (outcome.failed, outcome.notes) == ({f"{DAY}|BAD": "no bar"}, ["kept"])


def test_a_session_of_retired_tickers_alone_is_done_and_one_of_failed_ones_is_not() -> None:
    retired = {f"{DAY}|OLD": {"left the universe": "2020-01-02"}}
    outcome = gathered_by_session(
        Outcome(done=retired, failed={"2026-11-23|BAD": "no bar", "2026-11-23|BAD2": "no bar"})
    )
    assert list(outcome.done) == [DAY]
    outcome = gathered_by_session(Outcome(done=retired, failed={f"{DAY}|BAD": "no bar"}))
    assert outcome.done == {}


def test_what_all_tickers_share_stands_beside_the_table() -> None:
    done = {f"{DAY}|{ticker}": {"kind": "live", "close": close} for ticker, close in (("B", 2.0), ("A", 1.0))}
    (metadata,) = gathered_by_session(Outcome(done=done)).done.values()
    table = metadata["by ticker"]
    assert isinstance(table, dg.TableMetadataValue)
    assert metadata["kind"] == "live"
    assert [row.data for row in table.records] == [{"ticker": "A", "close": "1"}, {"ticker": "B", "close": "2"}]
