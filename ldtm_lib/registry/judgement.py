"""Judgement: the gate's verdicts on the newest networks of some tickers, computed from the record and kept on it."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from psycopg.types.json import Jsonb

from ldtm_lib.backtest.walk_forward import FoldReport
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.gate.comparison import ActiveModel
from ldtm_lib.gate.multiple_testing import (
    EarlierJudgement,
    MultipleTesting,
    Trials,
    multiple_testing_of,
)
from ldtm_lib.gate.rules import confirm, judge, not_trained, refusal
from ldtm_lib.gate.universe import Universe, universe_of
from ldtm_lib.gate.verdict import Verdict, verdict_of
from ldtm_lib.registry import backtests, failures
from ldtm_lib.registry.active_models import active_models
from ldtm_lib.registry.backtests import Backtest
from ldtm_lib.registry.checkpoints import CheckpointRecord, newest_checkpoints
from ldtm_lib.registry.failures import MissingCheckpoint
from ldtm_lib.settings import ForecastConfig, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with its subject."""

    ticker: str
    subject: CheckpointRecord | MissingCheckpoint | None
    """The candidate; or the training that left none; or None for a ticker that was never trained."""
    backtest_id: int | None
    verdict: Verdict

    @property
    def candidate(self) -> CheckpointRecord | None:
        """The candidate, if there is one."""
        return self.subject if isinstance(self.subject, CheckpointRecord) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The gate's decisions on a list of tickers, and the figures of all their backtests together."""

    decisions: list[Decision]
    """Decisions, one per ticker, in the order given."""
    universe: Universe
    """Figures of the tickers whose candidates were judged now."""


def judge_newest(
    conn: Connection,
    tickers: Sequence[str],
    settings: Settings,
    *,
    trained_on: date | None = None,
    degraded: Collection[int] = (),
) -> Judgement:
    """Judge the newest network of every ticker by the backtest with the same training inputs; writes nothing.

    If `trained_on` is given, only networks that were trained on the bars up to it by the present settings are judged:
    these are models of a simulation, which replace no active model and are compared with none. Other candidates are
    compared with the active model of their ticker, unless its checkpoint is among the `degraded`.

    A ticker without a candidate gets a verdict with the reason. A network that was promoted before is not judged
    again. Judgements wait for each other until the caller's transaction ends: each sees what was judged before it.
    """
    conn.execute(query("registry.lock_promotions"))
    of = None if trained_on is None else (trained_on, settings)
    subjects = _subjects(
        newest_checkpoints(conn, tickers, of=of),
        failures.newest_missing_checkpoints(conn, tickers, trained_on=trained_on),
    )
    records = [subject for subject in subjects.values() if isinstance(subject, CheckpointRecord)]
    earlier = newest_verdicts(conn, [record.checkpoint_id for record in records])
    keys = [record.key for record in records if record.status == "candidate"]
    tested = backtests.read(conn, keys, plan=settings.backtest)
    untested = failures.backtest_failures(conn, keys)

    compared = [key.ticker for key in tested] if trained_on is None else []
    active = active_models(conn, compared, plan=settings.backtest, degraded=degraded)

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
    reports = {key.ticker: backtest.reports for key, backtest in tested.items()}
    return Judgement(
        decisions=_confirmed(conn, decisions, settings, reports, active),
        universe=universe_of(reports, settings.gate, settings.forecast),
    )


def _judged(backtest: Backtest, candidate: CheckpointRecord, settings: Settings) -> Verdict:
    """The plain gate; look-ahead of the candidate itself, or of the windows of its bars, counts as well."""
    leaks = Counter(backtest.window_leaks or {}) + Counter(candidate.leaks or {})
    return judge(backtest.reports, settings.gate, settings.forecast, other_leaks=leaks)


def _confirmed(
    conn: Connection,
    decisions: list[Decision],
    settings: Settings,
    reports: Mapping[str, Sequence[FoldReport]],
    active: Mapping[str, ActiveModel],
) -> list[Decision]:
    """The decisions, each verdict corrected for multiple testing over its session's tickers and all earlier trials.

    A candidate of a ticker with an `active` model is compared with it.
    """
    judged = [d for d in decisions if d.backtest_id is not None and d.candidate and d.verdict.evidence]
    if not judged:
        return decisions
    tried = count_trials(conn, judged, forecast=settings.forecast)
    found: dict[str, MultipleTesting] = {}
    for session, before in judged_with(conn, judged).items():
        evidence = {
            d.ticker: d.verdict.evidence
            for d in judged
            if d.candidate and d.candidate.trained_on == session and d.verdict.evidence
        }
        found |= multiple_testing_of(evidence, tried, dict.fromkeys(settings.tickers_on(session)) | before)

    def confirmed(decision: Decision) -> Verdict:
        ticker = decision.ticker
        return confirm(
            decision.verdict,
            found[ticker],
            settings.gate,
            settings.forecast,
            reports=reports[ticker],
            active=active.get(ticker),
        )

    return [replace(d, verdict=confirmed(d)) if d.ticker in found else d for d in decisions]


def _subjects(
    records: dict[str, CheckpointRecord], missing: dict[str, MissingCheckpoint]
) -> dict[str, CheckpointRecord | MissingCheckpoint]:
    """Result of each ticker's newest training: a network, or the reason why there is none."""
    subjects: dict[str, CheckpointRecord | MissingCheckpoint] = {**records}
    for ticker, failure in missing.items():
        record = records.get(ticker)
        if record is None or failure.trained_on > record.trained_on:
            subjects[ticker] = failure
    return subjects


def record_verdicts(conn: Connection, decisions: Sequence[Decision]) -> set[str]:
    """Put verdicts on record; returns the tickers for which this is news.

    A verdict that equals the newest one of its ticker, on the same candidate and backtest, writes nothing. One in which
    the same rules pass and only figures differ, as when another ticker was judged meanwhile, is kept but is not news.
    """
    verdicts = [decision.verdict for decision in decisions]
    columns = {
        "tickers": [d.ticker for d in decisions],
        "trained_on": [d.subject and d.subject.trained_on for d in decisions],
        "checkpoint_ids": [d.candidate and d.candidate.checkpoint_id for d in decisions],
        "backtest_ids": [d.backtest_id for d in decisions],
        "passed": [verdict.passed for verdict in verdicts],
        "rules": [Jsonb([dataclasses.asdict(rule) for rule in verdict.rules]) for verdict in verdicts],
        "evidence": [verdict.evidence and Jsonb(verdict.evidence.as_dict()) for verdict in verdicts],
        "multiple_testing": [
            verdict.multiple_testing and Jsonb(verdict.multiple_testing.as_dict()) for verdict in verdicts
        ],
    }
    return {ticker for (ticker,) in conn.execute(query("registry.insert_verdicts"), columns)}


def newest_verdicts(conn: Connection, checkpoint_ids: Collection[int]) -> dict[int, Verdict]:
    """The newest verdict on each of some checkpoints."""
    parameters = {"checkpoint_ids": list(checkpoint_ids)}
    rows = conn.execute(query("registry.verdicts_of_checkpoints"), parameters)
    return {checkpoint_id: verdict_of(*columns) for checkpoint_id, *columns in rows}


def count_trials(conn: Connection, judged: Sequence[Decision], *, forecast: ForecastConfig) -> dict[str, Trials]:
    """By ticker, the number of trainings up to the session of its candidate, and of the settings that were tried.

    `forecast` has the neutral band that the candidates are judged by now.
    """
    columns = _training_sessions(judged) | {
        "backtest_ids": [decision.backtest_id for decision in judged],
        "neutral_band": forecast.neutral_band,
        "neutral_band_volatilities": forecast.neutral_band_volatilities,
    }
    rows = conn.execute(query("registry.trials"), columns)
    return {ticker: Trials(num_trainings=trained, num_settings=settings) for ticker, trained, settings in rows}


def judged_with(conn: Connection, judged: Sequence[Decision]) -> dict[date, dict[str, EarlierJudgement | None]]:
    """Earlier judgements of the other tickers that were trained on the same sessions as some candidates.

    By the session that a candidate was trained on, and by ticker.
    """
    columns = _training_sessions(judged)
    found: dict[date, dict[str, EarlierJudgement | None]] = {
        decision.candidate.trained_on: {} for decision in judged if decision.candidate
    }
    columns |= {"sessions": sorted(found)}
    for session, ticker, p_value, coin_passes in conn.execute(query("registry.other_verdicts"), columns):
        found[session][ticker] = EarlierJudgement(p_value=p_value, coin_passes=coin_passes)
    return found


def _training_sessions(judged: Sequence[Decision]) -> dict[str, object]:
    return {
        "tickers": [decision.ticker for decision in judged],
        "trained_on": [decision.candidate and decision.candidate.trained_on for decision in judged],
    }
