"""The gate over a list of tickers, from what is on record alone."""

from collections.abc import Sequence
from pathlib import Path

from ldtm_lib.backtest.gate import Verdict, judge, not_trained, refusal
from ldtm_lib.config import Settings
from ldtm_lib.database.connection import Connection
from ldtm_lib.registry import backtests, failures, verdicts
from ldtm_lib.registry.checkpoints import CheckpointRecord, newest_checkpoints
from ldtm_lib.registry.failures import MissingCheckpoint
from ldtm_lib.registry.promotion import Promotion, promote
from ldtm_lib.registry.verdicts import Decision


def judge_and_promote(conn: Connection, folder: Path, tickers: Sequence[str], settings: Settings) -> list[Promotion]:
    """Judge the newest network of every ticker by the backtest of what it was trained on, and promote what passes.

    One result per ticker, in the order given; a ticker without a candidate gets a verdict with the reason. A network
    that was promoted before is not judged again. All in the caller's one transaction, in a fixed number of statements.
    """
    subjects = _subjects(newest_checkpoints(conn, tickers), failures.newest_missing_checkpoints(conn, tickers))
    records = [subject for subject in subjects.values() if isinstance(subject, CheckpointRecord)]
    earlier = verdicts.of_checkpoints(conn, [record.checkpoint_id for record in records])
    keys = [record.key for record in records if record.status == "candidate"]
    tested = backtests.read(conn, keys, plan=settings.backtest)
    untested = failures.backtest_failures(conn, keys)

    decisions: list[Decision] = []
    for ticker in tickers:
        subject = subjects.get(ticker)
        backtest_id = None
        if not isinstance(subject, CheckpointRecord):
            verdict = not_trained(ticker, subject.reason if subject else "no training of it is on record")
        elif subject.status != "candidate":
            verdict = earlier.get(subject.checkpoint_id, Verdict(rules=()))
        elif backtest := tested.get(subject.key):
            backtest_id = backtest.backtest_id
            verdict = judge(backtest.reports, settings.gate, settings.forecast.neutral_band)
        else:
            reason = untested.get(subject.key, "none with the present [backtest] settings is on record; run it")
            verdict = refusal("backtested", f"{ticker} has no backtest: {reason}")
        decisions.append(Decision(ticker=ticker, subject=subject, backtest_id=backtest_id, verdict=verdict))
    return promote(conn, folder, decisions, architecture=settings.architecture)


def _subjects(
    records: dict[str, CheckpointRecord], missing: dict[str, MissingCheckpoint]
) -> dict[str, CheckpointRecord | MissingCheckpoint]:
    """Per ticker what its newest training left: a network, or the reason why there is none."""
    subjects: dict[str, CheckpointRecord | MissingCheckpoint] = {**records}
    for ticker, failure in missing.items():
        record = records.get(ticker)
        if record is None or failure.trained_on > record.trained_on:
            subjects[ticker] = failure
    return subjects
