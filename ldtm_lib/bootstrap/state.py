"""State of a bootstrap: the parts that an installation has, and those that are missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256

from ldtm_lib.bootstrap.request import BootstrapRequest
from ldtm_lib.bootstrap.walk_forward import Block, last_sessions, walk_forward_blocks
from ldtm_lib.database.clock import now
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.ledger.simulations import Simulation, SimulationPlan, num_rows_by_session, simulations
from ldtm_lib.prices.stored_bars import newest_sessions
from ldtm_lib.registry.configurations import model_settings_sha256
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings

LONGEST_BREAK = timedelta(days=14)
"""Upper bound of the time between two sessions; the longest since 1990 was 7 days, in September 2001."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapState:
    """The parts of a bootstrap that an installation has, and those that are missing."""

    last: date
    """The newest closed session that has partitions."""
    is_over: bool
    """True if the source, like the bundled sample, has no later session, so that new models cannot forecast any."""
    universe: tuple[str, ...]
    """The tickers of the universe on that session."""
    without_history: tuple[str, ...]
    """Tickers whose bars do not reach that session."""
    with_bars: tuple[str, ...]
    """Tickers that have at least one bar."""
    plan: SimulationPlan | None
    """The simulation that was requested; None while there is no bar."""
    simulation_id: int | None
    """The number of the simulation; None before it has begun."""
    pending: tuple[Block, ...]
    """The blocks in which rows are missing for at least one ticker."""
    untrained: tuple[str, ...]
    """Tickers with bars but without a verdict since the simulation began, or with one that is too old."""

    @property
    def is_complete(self) -> bool:
        """True if nothing is missing."""
        return not (self.without_history or self.pending or self.untrained) and self.simulation_id is not None


def bootstrap_state(
    conn: Connection, settings: Settings, calendar: Calendar, request: BootstrapRequest
) -> BootstrapState:
    """Read the state from the database. An earlier simulation that covers the request is reused."""
    moment = now(conn)
    closed = calendar.last_closed(moment)
    end = min(closed, settings.partitions.last_session or closed)
    last = calendar.between(end - LONGEST_BREAK, end)[-1]
    universe = settings.tickers_on(last)
    newest_bars = newest_sessions(conn, universe, last=last)
    with_bars = tuple(ticker for ticker in universe if ticker in newest_bars)
    newest_bar = max(newest_bars.values(), default=None)
    plan, simulation, pending = None, None, ()
    if newest_bar is not None:
        plan = _plan(calendar, newest_bar, with_bars, model_settings_sha256(settings), request)
        simulation = _covering(simulations(conn), plan, request, calendar)
        first = (simulation.first_session if simulation else None) or plan.first_session
        end = (simulation.last_session if simulation else None) or plan.last_session
        assert first is not None
        assert end is not None
        blocks = tuple(walk_forward_blocks(calendar, first, end, request.retrain_every))
        pending = _pending(conn, simulation, blocks, with_bars) if simulation else blocks
    judged = conn.execute(
        query("bootstrap.judged"),
        {
            "tickers": list(with_bars),
            "since": simulation.started_at if simulation else moment,
            "not_before": moment - timedelta(days=settings.automation.max_training_age_days),
            "last": last,
        },
    )
    up_to_date = {ticker for (ticker,) in judged}
    return BootstrapState(
        last=last,
        is_over=settings.source.kind == "sample",
        universe=universe,
        without_history=tuple(ticker for ticker in universe if newest_bars.get(ticker) != last),
        with_bars=with_bars,
        plan=plan,
        simulation_id=simulation.simulation_id if simulation else None,
        pending=pending,
        untrained=tuple(ticker for ticker in with_bars if ticker not in up_to_date),
    )


def _plan(
    calendar: Calendar, last: date, tickers: tuple[str, ...], settings_sha256: str, request: BootstrapRequest
) -> SimulationPlan:
    sessions = last_sessions(calendar, last, request.num_sessions)
    content = sha256(f"{settings_sha256} {request.retrain_every} {','.join(tickers)}".encode()).hexdigest()
    return SimulationPlan(
        origin=f"bootstrap of {sessions[0]} to {last}, {content[:16]}",
        first_session=sessions[0],
        last_session=last,
        retrain_every=request.retrain_every,
        settings_sha256=settings_sha256,
        tickers=tickers,
    )


def _covering(
    known: Sequence[Simulation], plan: SimulationPlan, request: BootstrapRequest, calendar: Calendar
) -> Simulation | None:
    """The newest simulation with the same settings and tickers, and at least as many sessions."""
    for each in known:
        if (
            each.first_session is not None
            and each.last_session is not None
            and (each.settings_sha256, each.retrain_every) == (plan.settings_sha256, plan.retrain_every)
            and tuple(each.tickers or ()) == plan.tickers
            and len(calendar.between(each.first_session, each.last_session)) >= request.num_sessions
        ):
            return each
    return None


def _pending(
    conn: Connection, simulation: Simulation, blocks: Sequence[Block], tickers: Sequence[str]
) -> tuple[Block, ...]:
    num_rows = num_rows_by_session(conn, simulation.simulation_id, tickers)
    return tuple(
        block for block in blocks if any(num_rows.get(session, 0) < len(tickers) for session in block.sessions)
    )
