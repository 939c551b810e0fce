"""Whatever happens to the record in whatever order: it says what a plain model says, and its chain verifies."""

import math
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row

from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.audit.sealing import create_seal, read_seals, seal_and_publish
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.windows import latest_windows
from ldtm_lib.ledger.fillbacks import FillReport, fill
from ldtm_lib.ledger.simulations import NO_SIMULATION, SimulationPlan, begin_simulation
from ldtm_lib.ledger.snapshots import SnapshotReport, take_snapshots
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.splits import Split
from ldtm_lib.prices.stored_bars import recent_bars
from ldtm_lib.sessions import HORIZONS, ONE_MONTH_SESSIONS, Calendar, exchange_calendar
from ldtm_lib.settings import LedgerConfig, Settings
from tests.databases import fresh_database
from tests.integration.audit.few_sessions import few_sessions, migrated
from tests.integration.audit.plain_ledger import SAME, Apply, PlainLedger, RowKey, Share
from tests.integration.audit.small_networks import SmallNetworks, small_settings
from tests.integration.ledger_rows import enter_service

TICKERS = ("AAPL", "FB", "IBM", "MSFT")
NEVER_TRAINED = "FB"
"""Has no model until one is promoted."""
FIRST = date(2013, 1, 2)
NUM_HISTORY, NUM_SESSIONS, NUM_VERSIONS = 25, 80, 6
SHORT_HISTORIES, LONG_HISTORIES = (12, 20), (60, 40)
"""How many examples, and how many steps each may take at most."""
OF_A_FILL = ("_actual", "_pct_error", "_correct", "_filled_at")
"""How the names of columns end that are empty at first; all others are of the forecast."""

Work = Callable[[Connection], Apply]
"""What is done in a transaction; returns what the plain model has to do once it is committed."""
RATIOS = (2.0, 10.0, 0.1)
some_tickers = st.sets(st.sampled_from(TICKERS), min_size=1)
backs = st.integers(0, 8)
NUM_SIMULATIONS = 2
numbers = st.integers(NO_SIMULATION, NUM_SIMULATIONS)
"""Of the daily runs' rows and of each simulation's."""


@dataclass(frozen=True, slots=True)
class Place:
    """What all examples share."""

    server_url: str
    template: str
    calendar: Calendar
    settings: Settings
    networks: SmallNetworks


class AnyOrder(RuleBasedStateMachine):
    """One record, and what a source, an operator and crashes may do to it."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place, self.calendar = place, place.calendar
        self.stack = ExitStack()
        self.database: Database = self.stack.enter_context(fresh_database(place.server_url, place.template))
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.file = SealFile(path=Path(folder) / "seals.jsonl")
        self.watch = self.stack.enter_context(self.database.connect())
        self.watch.autocommit = True
        start = self.calendar.offset(FIRST, -NUM_HISTORY)
        self.sessions = self.calendar.between(start, self.calendar.offset(FIRST, NUM_SESSIONS))
        self.today = NUM_HISTORY
        self.plain = PlainLedger(self.calendar, {t: Share(t) for t in TICKERS}, place.settings.window.window_sessions)
        self.num_versions = dict.fromkeys(TICKERS, 0)
        self.num_corrections: Counter[tuple[str, date]] = Counter()
        self.recorded: dict[RowKey, dict[str, object]] = {}
        self.num_published = 0

    @initialize(
        splitting=st.sampled_from(TICKERS),
        ratio=st.sampled_from(RATIOS),
        crashing=st.sampled_from(TICKERS),
        chance=st.integers(0, 50),
    )
    def three_daily_runs_and_a_month_of_silence(self, splitting: str, ratio: float, crashing: str, chance: int) -> None:
        """So that every example has forecasts on record, actuals that are due, and a split that nobody told of."""
        for n, share in enumerate(self.plain.shares.values()):
            share.worth[self.sessions[0]] = 1000.0 + 100 * n
            self._trade(share, 1, self.today, Random(n))
        self._commit(self._delivery(dict.fromkeys(TICKERS, self.sessions[: self.today + 1]), self._newest, declares=()))
        with self.database.transaction() as conn:
            for ticker in TICKERS:
                enter_service(conn, ticker, self.sessions[0])
            for number in range(1, NUM_SIMULATIONS + 1):
                assert begin_simulation(conn, SimulationPlan(origin=f"simulation {number} of a test")) == number
        for ticker in TICKERS:
            if ticker != NEVER_TRAINED:
                self._commit(self._promotion(ticker))
        for back in (2, 1, 0):
            self._record_session(self.sessions[self.today - back], back)
        self.sessions_pass(1, chance, None)
        self.a_share_is_going_to_split(splitting, ratio)
        self.sessions_pass(ONE_MONTH_SESSIONS, chance, crashing)

    # ---- the world, which the database does not see

    @rule(num=st.sampled_from((1, 2, 3, 21)), chance=st.integers(0, 50), crashing=st.none() | st.sampled_from(TICKERS))
    @precondition(lambda self: self.today + 21 < len(self.sessions))
    def sessions_pass(self, num: int, chance: int, crashing: str | None) -> None:
        for n, share in enumerate(self.plain.shares.values()):
            moves = Random(100 * chance + n)
            self._trade(share, self.today + 1, self.today + num, moves, crashes=share.ticker == crashing)
        self.today += num

    @rule(ticker=st.sampled_from(TICKERS), ratio=st.sampled_from(RATIOS))
    @precondition(lambda self: self.today + 4 < len(self.sessions))
    def a_share_is_going_to_split(self, ticker: str, ratio: float) -> None:
        share, session = self.plain.shares[ticker], self.sessions[self.today + 1]
        if all(split.ratio != ratio and split.session != session for split in share.splits):
            share.splits.append(Split(ticker=ticker, session=session, ratio=ratio))

    @rule(ticker=st.sampled_from(TICKERS), back=st.integers(0, 24), percent=st.sampled_from((-5, -2, 2, 5)))
    def the_source_corrects_a_bar(self, ticker: str, back: int, percent: int) -> None:
        """All four prices, but not by one multiple: that would be another price basis."""
        self.plain.shares[ticker].worth[self.sessions[self.today - back]] *= 1 + percent / 100
        self.num_corrections[ticker, self.sessions[self.today - back]] += 1

    # ---- what is done to the record; each may be cut off, or meet another one

    @rule(data=st.data(), chance=st.integers(0, 50), crashing=st.none() | st.sampled_from(TICKERS))
    @precondition(lambda self: self.today + 1 < len(self.sessions))
    def a_session_passes_and_its_daily_run_is_recorded(
        self, data: st.DataObject, chance: int, crashing: str | None
    ) -> None:
        self.sessions_pass(1, chance, crashing)
        self._commit(self._draw_delivery(data, last=self.today))
        self._record_session(self._newest, data.draw(numbers))
        self._commit(partial(self._fill, self._newest, None))

    @rule(back=backs, simulation_id=numbers)
    def a_daily_run_is_recorded_late_or_again(self, back: int, simulation_id: int) -> None:
        self._record_session(self.sessions[max(NUM_HISTORY, self.today - back)], simulation_id)

    @rule()
    def everything_is_delivered_and_filled(self) -> None:
        days = self.sessions[: self.today + 1]
        self._commit(self._delivery(dict.fromkeys(TICKERS, days), self._newest, declares=TICKERS))
        self._commit(partial(self._fill, self._newest, None))

    @rule(data=st.data(), fate=st.sampled_from(("commit", "commit", "commit", "crash", "disconnect")))
    def something_happens(self, data: st.DataObject, fate: str) -> None:
        _, work = self._draw_work(data)
        if fate == "commit":
            self._commit(work)
        else:
            self._cut_off(work, disconnects=fate == "disconnect")

    @rule(data=st.data(), first_commits=st.booleans())
    def two_things_happen_at_once(self, data: st.DataObject, first_commits: bool) -> None:
        (first_kind, first), (second_kind, second) = self._draw_work(data), self._draw_work(data)
        self._at_once(first, second, takes_turns=first_kind == second_kind, first_commits=first_commits)

    @rule(chance=st.integers(0, 50), fill_is_first=st.booleans(), first_commits=st.booleans())
    @precondition(lambda self: self.today + 1 < len(self.sessions))
    def actuals_and_forecasts_are_written_at_once(self, chance: int, fill_is_first: bool, first_commits: bool) -> None:
        self.sessions_pass(1, chance, None)
        days = self.sessions[: self.today + 1]
        self._commit(self._delivery(dict.fromkeys(TICKERS, days), self._newest, declares=TICKERS))
        self._commit(partial(self._windows, self._newest))
        works = [partial(self._fill, self._newest, None), partial(self._snapshots, self._newest, NO_SIMULATION)]
        first, second = works if fill_is_first else reversed(works)
        self._at_once(first, second, takes_turns=False, first_commits=first_commits)

    def _at_once(self, first: Work, second: Work, *, takes_turns: bool, first_commits: bool) -> None:
        """The second begins before the first is committed, and goes as far as it can.

        Works of one kind take turns: the second sees what the first did. All others see what was there before.
        """
        applied: list[Apply] = []
        failed: list[BaseException] = []
        ready = threading.Event()
        backend: list[int] = []

        def beside() -> None:
            try:
                with self.database.transaction() as conn:
                    backend.append(conn.info.backend_pid)
                    ready.set()
                    applied.append(second(conn))
            except BaseException as error:
                failed.append(error)
            finally:
                ready.set()

        with self.database.connect() as conn:
            apply = first(conn)
            thread = threading.Thread(target=beside)
            if takes_turns and first_commits:
                apply()
            thread.start()
            ready.wait()
            while thread.is_alive() and not self._waits(backend):
                time.sleep(0.001)
            if first_commits:
                conn.commit()
            else:
                conn.rollback()
        thread.join()
        assert not failed, failed
        if first_commits and not takes_turns:
            apply()
        applied[0]()

    @rule()
    def a_daily_run_closes(self) -> None:
        closing = seal_and_publish(self.database, [self.file])
        assert not closing.failures
        self._check_publication()
        assert closing.newest is None or self.num_published == closing.newest.seal_id + 1

    @rule(crash_at=st.integers(0, 2))
    def a_daily_run_is_cut_off_while_it_closes(self, crash_at: int) -> None:
        """Before the seal is committed, before it is published, and in the middle of its line."""
        with self.database.connect() as conn:
            create_seal(conn)
            if crash_at:
                conn.commit()
                chain = read_seals(conn)
        if crash_at == 2 and chain and chain[-1].seal_id not in self.file.read().seals:
            publish_missing(self.file, chain)
            self.file.path.write_bytes(self.file.path.read_bytes()[:-20])
        self._check_publication()

    @rule(column=st.sampled_from(("next_day_pred = next_day_pred + 1", "kind = 'live'", "next_day_actual = 1")))
    def nobody_changes_a_row_by_hand(self, column: str) -> None:
        if self.plain.rows:
            with pytest.raises(psycopg.IntegrityError), self.database.transaction() as conn:
                conn.execute(f"update snapshot set {column}".encode())

    @rule()
    def the_newest_daily_run_is_recorded_live_while_that_is_in_time(self) -> None:
        """No ticker has a bar of this year: all abstain, and are live all the same."""
        run_date = self.calendar.last_closed(datetime.now(UTC))
        self.plain.windows[run_date] = dict.fromkeys(TICKERS)
        self._commit(partial(self._windows, run_date))
        self._commit(partial(self._snapshots, run_date, NO_SIMULATION))

    # ---- what must hold all the while

    @invariant()
    def the_record_says_what_the_plain_model_says(self) -> None:
        cursor = self.watch.cursor(row_factory=dict_row)
        rows: dict[RowKey, dict[str, Any]] = {
            (row["ticker"], row["run_date"], row["simulation_id"]): row
            for row in cursor.execute("select * from snapshot")
        }
        assert rows.keys() == self.plain.rows.keys()
        for key, row in rows.items():
            before = self.recorded.get(key, row)
            same = {name for name, value in before.items() if value is not None or not name.endswith(OF_A_FILL)}
            assert {name: row[name] for name in same} == {name: before[name] for name in same}, f"{key} was changed"
            self.recorded[key] = row
            self._check_row(key, row)
        self._check_restatements()

    def teardown(self) -> None:
        try:
            if self.plain.rows:
                self.a_daily_run_closes()
                report = verify(self.database, self.calendar, [self.file])
                assert [found.message for found in report.discrepancies] == []
                self._check_counts()
        finally:
            self.stack.close()

    # ---- works

    @property
    def _newest(self) -> date:
        return self.sessions[self.today]

    def _draw_work(self, data: st.DataObject) -> tuple[str, Work]:
        kind = data.draw(st.sampled_from(("delivery", "windows", "snapshots", "fill", "fill", "seal", "promotion")))
        session = self.sessions[max(NUM_HISTORY, self.today - data.draw(backs))]
        match kind:
            case "delivery":
                return kind, self._draw_delivery(data)
            case "windows":
                return kind, partial(self._windows, session)
            case "snapshots" if session in self.plain.windows:
                return kind, partial(self._snapshots, session, data.draw(numbers))
            case "snapshots":
                return "windows", partial(self._windows, session)
            case "seal":
                return kind, self._seal
            case "promotion":
                return kind, self._promotion(data.draw(st.sampled_from(TICKERS)))
            case _:
                return kind, partial(self._fill, session, data.draw(st.none() | some_tickers))

    def _record_session(self, run_date: date, simulation_id: int) -> None:
        self._commit(partial(self._windows, run_date))
        self._commit(partial(self._snapshots, run_date, simulation_id))

    def _draw_delivery(self, data: st.DataObject, last: int | None = None) -> Work:
        tickers = list(TICKERS) if last is not None else sorted(data.draw(some_tickers))
        last = self.today - data.draw(backs) if last is None else last
        days = self.sessions[max(0, last - data.draw(st.sampled_from((0, 5, 12, 30)))) : last + 1]
        absent = data.draw(st.sets(st.tuples(st.sampled_from(tickers), st.sampled_from(days)), max_size=6))
        delivered = {t: self._joined(t, own) for t in tickers if (own := [d for d in days if (t, d) not in absent])}
        basis = self.sessions[last] if data.draw(st.booleans()) else self._newest
        if not all(self._tells_its_basis(self.plain.shares[t], own, basis) for t, own in delivered.items()):
            basis = self._newest
        is_told = data.draw(st.booleans())
        declares = [t for t, own in delivered.items() if is_told or not self.plain.shares[t].can_be_noticed(own, basis)]
        return self._delivery(delivered, basis, declares=declares)

    def _joined(self, ticker: str, days: Sequence[date]) -> Sequence[date]:
        """The sessions, with a stored one where a large move from it would wait for one."""
        share = self.plain.shares[ticker]
        if share.stored.keys() & set(days):
            return days
        beside = [
            (one, two)
            for one, two in pairwise(sorted(share.stored.keys() | set(days)))
            if (one in share.stored) != (two in share.stored)
            and not 0.7 < share.worth[one] / share.worth[two] < 1 / 0.7
        ]
        return sorted({*days, *(day for pair in beside for day in pair if day in share.stored)})

    @staticmethod
    def _tells_its_basis(share: Share, sessions: Sequence[date], basis: date) -> bool:
        return any(share.stored.get(session) == share.worth[session] for session in sessions)

    def _delivery(self, delivered: Mapping[str, Sequence[date]], basis: date, *, declares: Sequence[str]) -> Work:
        frames: list[tuple[object, ...]] = []
        for ticker, sessions in delivered.items():
            share = self.plain.shares[ticker]
            divisor = share.divisor(share.num_applied(basis))
            for session in sessions:
                price = share.worth[session] / divisor
                spread = 0.01 + 0.02 * self.num_corrections[ticker, session]
                high, low = price * (1 + spread), price * (1 - spread)
                frames.append((ticker, session, price, high, low, price, 1e6 * divisor))
        splits = [s for t in declares for s in self.plain.shares[t].splits if s.session <= basis]
        delivery = Delivery(
            bars=pl.DataFrame(frames, schema=BAR_SCHEMA, orient="row"),
            splits=tuple(splits),
            basis=dict.fromkeys(delivered, basis),
        )
        apply = self.plain.plan_delivery(delivered, basis)

        def work(conn: Connection) -> Apply:
            ingest(conn, delivery, source="test", calendar=self.calendar)
            return apply

        return work

    def _windows(self, session: date, conn: Connection) -> Apply:
        window = self.place.settings.window
        num_bars = window.window_sessions + window.warmup_bars
        bars = recent_bars(conn, TICKERS, last=session, num_bars=num_bars)
        plan = self.plain.plan_windows(session)
        input_windows.record(conn, latest_windows(bars, TICKERS, session, self.calendar, window))
        return plan

    def _snapshots(self, run_date: date, simulation_id: int, conn: Connection) -> Apply:
        is_in_time = datetime.now(UTC) < self.calendar.opens_at(self.calendar.offset(run_date, 1))
        kind = "simulated" if simulation_id else "live" if is_in_time else "late"
        plan = self.plain.plan_snapshots(run_date, kind, simulation_id)
        report = take_snapshots(
            conn,
            run_date=run_date,
            tickers=TICKERS,
            folder=self.place.networks.folder,
            settings=self.place.settings,
            calendar=self.calendar,
            simulation_id=simulation_id,
        )
        self._check_report(report, simulation_id)
        return plan

    def _fill(self, as_of: date, tickers: set[str] | None, conn: Connection) -> Apply:
        num_filled, plan = self.plain.plan_fill(as_of, TICKERS if tickers is None else tickers)
        report: FillReport = fill(
            conn, as_of=as_of, config=LedgerConfig(), tickers=None if tickers is None else sorted(tickers)
        )
        assert report.num_filled == num_filled
        assert report.voided.is_empty()
        return plan

    def _seal(self, conn: Connection) -> Apply:
        create_seal(conn)
        return lambda: None

    def _promotion(self, ticker: str) -> Work:
        def work(conn: Connection) -> Apply:
            version = self.num_versions[ticker]
            if version < NUM_VERSIONS:
                self.num_versions[ticker] += 1
                self.place.networks.promote(conn, ticker, version)
                return lambda: self.plain.active_models.add(ticker)
            return lambda: None

        return work

    # ---- fates

    def _commit(self, work: Work) -> None:
        with self.database.transaction() as conn:
            apply = work(conn)
        apply()

    def _cut_off(self, work: Work, *, disconnects: bool) -> None:
        conn = self.database.connect()
        work(conn)
        if not disconnects:
            conn.rollback()
        conn.close()

    def _waits(self, backend: Sequence[int]) -> bool:
        """Whether a backend waits for somebody's lock."""
        row = self.watch.execute(
            "select exists (select from pg_locks where pid = any (%s) and not granted)", (list(backend),)
        ).fetchone()
        return row == (True,)

    # ---- checks

    def _check_report(self, report: SnapshotReport, simulation_id: int) -> None:
        """The first row stays, and another forecast is told; the same again is no conflict."""
        assert [row.ticker for row in report.rows] == list(TICKERS)
        known = {ticker for ticker in TICKERS if (ticker, report.run_date, simulation_id) in self.recorded}
        assert not known & set(report.written)
        assert {*report.written, *report.unchanged, *(c.ticker for c in report.conflicts)} == set(TICKERS)

    def _check_row(self, key: RowKey, row: Mapping[str, object]) -> None:
        forecast = self.plain.rows[key]
        assert row["kind"] == self.plain.kinds[key]
        if row["kind"] == "live":
            assert isinstance(row["recorded_at"], datetime)
            assert row["recorded_at"] < self.calendar.opens_at(self.calendar.offset(key[1], 1))
        if forecast is None:
            assert row["abstained_reason"] is not None
            assert all(row[f"{horizon}_actual"] is None for horizon in HORIZONS)
            return
        assert row["abstained_reason"] is None
        close = forecast.close / forecast.units
        assert _is_same(row["run_date_close"], close)
        for horizon, said in forecast.said.items():
            actual, error = row[f"{horizon}_actual"], row[f"{horizon}_pct_error"]
            assert (actual is None) == (not said), f"{key} {horizon}"
            if said:
                assert _is_same(actual, said[0]), f"{key} {horizon}: {actual}, not {said[0]}"
                assert _is_same(error, (float(str(row[f"{horizon}_pred"])) - said[0]) / said[0] * 100, absolute=1e-6)
        if said := forecast.said["next_day"]:
            is_up, is_same = said[0] > close, _is_same(said[0], close)
            assert row["next_day_direction_actual"] == ("neutral" if is_same else "bullish" if is_up else "bearish")

    def _check_restatements(self) -> None:
        found: dict[tuple[str, date, int, str], list[float]] = {}
        for *key, value in self.watch.execute(
            "select ticker, run_date, simulation_id, horizon, restated_actual from restated_actual"
            " order by bar_recorded_at"
        ):
            found.setdefault((*key,), []).append(value)
        expected = {
            (*key, horizon): said[1:]
            for key, forecast in self.plain.rows.items()
            for horizon, said in (forecast.said if forecast else {}).items()
            if len(said) > 1
        }
        assert found.keys() == expected.keys()
        for key, values in found.items():
            assert values == pytest.approx(expected[key], rel=SAME), key

    def _check_counts(self) -> None:
        """As many events as there are things in the plain model."""
        counts = dict(self.watch.execute("select event, count(*) from ledger_event group by event").fetchall())
        said = [said for forecast in self.plain.rows.values() if forecast for said in forecast.said.values()]
        assert (counts["service"], counts["simulation"]) == (len(TICKERS), NUM_SIMULATIONS)
        assert counts.get("forecast", 0) == len(self.plain.rows)
        assert counts.get("fill", 0) == sum(bool(values) for values in said)
        assert counts.get("restatement", 0) == sum(len(values[1:]) for values in said)

    def _check_publication(self) -> None:
        """What is published is the beginning of the chain, and only ever grows."""
        published = self.file.read()
        assert published.problems == ()
        chain = read_seals(self.watch)
        assert list(published.seals) == list(range(len(published.seals)))
        assert [seal.sha256 for seal in published.seals.values()] == [s.sha256 for s in chain[: len(published.seals)]]
        assert len(published.seals) >= self.num_published
        self.num_published = len(published.seals)

    def _trade(self, share: Share, first: int, last: int, chance: Random, *, crashes: bool = False) -> None:
        """Prices of some sessions: up to 3% up or down, or down by 60% on the first of them."""
        for at in range(first, last + 1):
            move = -0.6 if crashes and at == first else chance.uniform(-0.03, 0.03)
            share.worth[self.sessions[at]] = share.worth[self.sessions[at - 1]] * (1 + move)


def _is_same(found: object, expected: float, absolute: float = 0.0) -> bool:
    return isinstance(found, float) and math.isclose(found, expected, rel_tol=SAME, abs_tol=absolute)


@pytest.fixture(scope="module")
def place(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    calendar, folder = few_sessions(exchange_calendar()), tmp_path_factory.mktemp("networks")
    networks = SmallNetworks.written(folder, TICKERS, NUM_VERSIONS)
    with migrated(server_url, calendar) as template:
        yield Place(server_url, template, calendar, small_settings(folder, TICKERS), networks)


@pytest.mark.parametrize("ratio", RATIOS[1:])
def test_a_split_that_takes_back_the_one_of_the_session_before_is_noticed_and_scores_no_forecast_anew(
    place: Place, ratio: float
) -> None:
    machine = AnyOrder(place)
    try:
        machine.three_daily_runs_and_a_month_of_silence(splitting="AAPL", ratio=2.0, crashing="AAPL", chance=0)
        machine.everything_is_delivered_and_filled()
        machine.a_share_is_going_to_split(ticker="IBM", ratio=ratio)
        machine.actuals_and_forecasts_are_written_at_once(chance=0, fill_is_first=False, first_commits=True)
        machine.a_share_is_going_to_split(ticker="IBM", ratio=1 / ratio)
        machine.sessions_pass(num=1, chance=0, crashing=None)
        days = machine.sessions[machine.today - 5 : machine.today + 1]
        machine._commit(machine._delivery(dict.fromkeys(TICKERS, days), days[-1], declares=()))
        machine._record_session(days[-1], NO_SIMULATION)
        machine._commit(partial(machine._fill, days[-1], None))
        machine.the_record_says_what_the_plain_model_says()
    finally:
        machine.teardown()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("num_examples", "num_steps"),
    [
        pytest.param(*SHORT_HISTORIES, id="short histories"),
        pytest.param(*LONG_HISTORIES, id="long histories", marks=pytest.mark.nightly),
    ],
)
def test_in_any_order_the_record_says_what_a_plain_model_says_and_verifies(
    place: Place, num_examples: int, num_steps: int
) -> None:
    run_state_machine_as_test(
        lambda: AnyOrder(place),
        settings=settings(
            max_examples=num_examples,
            stateful_step_count=num_steps,
            suppress_health_check=list(HealthCheck),
            deadline=None,
        ),
    )
