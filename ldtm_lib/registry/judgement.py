"""The gate over a list of tickers, from what is on record alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.gate.multiple_testing import Standing, standings
from ldtm_lib.gate.rules import confirm, judge, not_trained, refusal
from ldtm_lib.gate.universe import Universe, universe_of
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.registry import backtests, failures, verdicts
from ldtm_lib.registry.backtests import Backtest
from ldtm_lib.registry.checkpoints import CheckpointRecord, newest_checkpoints
from ldtm_lib.registry.failures import MissingCheckpoint
from ldtm_lib.registry.promotion import Promotion, promote
from ldtm_lib.registry.verdicts import Decision
from ldtm_lib.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the gate says about a list of tickers, and what their backtests show together."""

    decisions: list[Decision]
    """One per ticker, in the order given."""
    universe: Universe
    """Of those whose candidates were judged now."""


def judge_and_promote(conn: Connection, folder: Path, tickers: Sequence[str], settings: Settings) -> list[Promotion]:
    """Judge the newest network of every ticker and promote what passes; one result per ticker, in the order given.

    All in the caller's one transaction, in a fixed number of statements.
    """
    return promote(conn, folder, judge_newest(conn, tickers, settings).decisions, architecture=settings.architecture)


def judge_newest(conn: Connection, tickers: Sequence[str], settings: Settings) -> Judgement:
    """Judge the newest network of every ticker by the backtest of what it was trained on.

    A ticker without a candidate gets a verdict with the reason. A network that was promoted before is not judged
    again. Judgements wait for each other until the caller's transaction ends: each sees what was judged before it.
    """
    conn.execute(query("registry.lock_promotions"))
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
            verdict = _judged(backtest, subject, settings)
        else:
            reason = untested.get(subject.key, "none with the present [backtest] settings is on record; run it")
            verdict = refusal("backtested", f"{ticker} has no backtest: {reason}")
        decisions.append(Decision(ticker=ticker, subject=subject, backtest_id=backtest_id, verdict=verdict))
    return Judgement(
        decisions=_among_others(conn, decisions, settings),
        universe=universe_of(
            {key.ticker: backtest.reports for key, backtest in tested.items()},
            settings.gate,
            settings.forecast.neutral_band,
        ),
    )


def _judged(backtest: Backtest, candidate: CheckpointRecord, settings: Settings) -> Verdict:
    """The four rules; what leaked into the candidate itself, or into the windows of its bars, counts as well."""
    leaks = Counter(backtest.window_leaks or {}) + Counter(candidate.leaks or {})
    return judge(backtest.reports, settings.gate, settings.forecast.neutral_band, other_leaks=leaks)


def _among_others(conn: Connection, decisions: list[Decision], settings: Settings) -> list[Decision]:
    """The decisions, each verdict seen among the whole universe of its evening and after all trials before it."""
    judged = [d for d in decisions if d.backtest_id is not None and d.candidate and d.verdict.evidence]
    if not judged:
        return decisions
    tried = verdicts.trials(conn, judged, neutral_band=settings.forecast.neutral_band)
    standing_of: dict[str, Standing] = {}
    for evening, before in verdicts.others_of_evenings(conn, judged).items():
        evidence = {
            d.ticker: d.verdict.evidence
            for d in judged
            if d.candidate and d.candidate.trained_on == evening and d.verdict.evidence
        }
        standing_of |= standings(evidence, tried, dict.fromkeys(settings.tickers_on(evening)) | before)
    return [
        replace(d, verdict=confirm(d.verdict, standing_of[d.ticker], settings.gate)) if d.ticker in standing_of else d
        for d in decisions
    ]


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
