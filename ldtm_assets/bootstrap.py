"""The job `bootstrap_job`: builds a record from scratch, or adds the missing parts of one.

A single op runs all stages, so that a failing ticker does not stop the others. Each stage reads from the database what
is missing and records its results as it goes, so that the next run resumes after an interruption.
"""

from collections.abc import Sequence
from datetime import date

import dagster as dg
from pydantic import Field

from ldtm_assets.assets.backtests import trained_backtests
from ldtm_assets.assets.checkpoints import trained_checkpoints
from ldtm_assets.assets.features import build_features
from ldtm_assets.assets.leaderboard import leaderboard_metadata
from ldtm_assets.assets.prices import load_histories
from ldtm_assets.assets.registry import outcome_of_gate, remove_unneeded_files
from ldtm_assets.assets.seals import all_publications
from ldtm_assets.assets.simulations import SIMULATIONS, simulation_metadata
from ldtm_assets.assets.snapshots import take_daily_snapshots
from ldtm_assets.materialization import Outcome, fail_if_any_failed, log_outcome
from ldtm_assets.partitions import DailyPartition
from ldtm_assets.resources import ProjectResource
from ldtm_assets.run_tags import tag_with_process
from ldtm_assets.training.placement import training_place
from ldtm_assets.training.progress import TrainingReporter
from ldtm_assets.training.stage import train
from ldtm_lib.audit.sealing import seal_and_publish
from ldtm_lib.bootstrap.request import DEFAULT_RETRAIN_EVERY, DEFAULT_SESSIONS, BootstrapRequest
from ldtm_lib.bootstrap.state import BootstrapState, bootstrap_state
from ldtm_lib.bootstrap.walk_forward import Block
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.monitoring import degraded_checkpoints
from ldtm_lib.ledger.simulations import begin_simulation, judged_tickers, record_models
from ldtm_lib.ledger.snapshots import SnapshotReport
from ldtm_lib.maintenance.dagster_status import GPU_POOL
from ldtm_lib.project import Project
from ldtm_lib.registry.configurations import record_configuration
from ldtm_lib.registry.gate_run import run_gate
from ldtm_lib.registry.judgement import judge_newest
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.training.plan import PARTS
from ldtm_lib.training.report import TrainingReport
from ldtm_lib.wording import counted


class BootstrapConfig(dg.Config):
    """Length of the simulation, retraining interval of its models, and device of the trainings."""

    sessions: int = Field(
        default=DEFAULT_SESSIONS,
        description="Number of past sessions to simulate; the last one is the newest session that has bars.",
    )
    retrain_every: int = Field(
        default=DEFAULT_RETRAIN_EVERY, description="Number of sessions between two trainings in the simulation."
    )
    device: str = Field(
        default="auto",
        description="`cpu`, `cuda` for the GPU with the most free memory, `cuda:N` for one GPU, or `auto` for CUDA if "
        "available.",
    )


@dg.op(
    out=dg.Out(dg.Nothing),
    pool=GPU_POOL,
    description="Loads price histories, simulates past sessions, trains on bars up to today, applies the gate, and "
    "seals the record.",
)
def bootstrap(
    context: dg.OpExecutionContext,
    config: BootstrapConfig,
    project: ProjectResource,
    reporter: dg.ResourceParam[TrainingReporter],
) -> None:
    """Set up everything that forecasts need, and simulate past sessions."""
    tag_with_process(context)
    Bootstrap(context, config, project.open(), exchange_calendar(), reporter).run()


class Bootstrap:
    """The stages of one bootstrap; each does only the work that is missing."""

    def __init__(
        self,
        context: dg.OpExecutionContext,
        config: BootstrapConfig,
        project: Project,
        calendar: Calendar,
        reporter: TrainingReporter,
    ) -> None:
        self._context, self._config, self._project = context, config, project
        self._calendar, self._reporter = calendar, reporter
        self._request = BootstrapRequest(num_sessions=config.sessions, retrain_every=config.retrain_every)
        self._outcomes: dict[str, Outcome] = {}
        self._reports: list[SnapshotReport] = []

    def run(self) -> None:
        """Run all stages; fails after the last one if any ticker failed."""
        state = self._load_histories()
        self._simulate(state)
        self._fill(state.last, state.with_bars)
        self._train()
        self._close()
        fail_if_any_failed(self._outcomes)

    def _state(self) -> BootstrapState:
        with self._project.database.transaction() as conn:
            return bootstrap_state(conn, self._project.settings, self._calendar, self._request)

    def _load_histories(self) -> BootstrapState:
        """Load the missing price histories; returns the resulting state."""
        state = self._state()
        if not state.without_history:
            return state
        self._reporter.stage(f"price history of {_tickers(state.without_history)}")
        outcome = load_histories(self._project, self._calendar, state.without_history, state.last.isoformat())
        self._conclude("price_history", outcome)
        state = self._state()
        if not state.with_bars:
            fail_if_any_failed(self._outcomes)
            raise dg.Failure(
                description=f"the source has no bars for {_tickers(state.universe)}; check it with `ldtm doctor`",
                allow_retries=False,
            )
        return state

    def _simulate(self, state: BootstrapState) -> None:
        assert state.plan is not None
        if not state.pending:
            return
        with self._project.database.transaction() as conn:
            record_configuration(conn, self._project.settings)
            simulation_id = state.simulation_id or begin_simulation(conn, state.plan)
        for at, block in enumerate(state.pending, start=1):
            title = f"simulation {simulation_id}, {block.sessions[0]} to {block.sessions[-1]}"
            num_after = len(state.pending) - at + (0 if state.is_over else 1)
            self._reporter.stage(f"{title}: models", num_trainings_after=num_after)
            self._train_block(simulation_id, block, state.with_bars)
            self._reporter.stage(f"{title}: forecasts")
            self._forecast_block(simulation_id, block, state.with_bars)
            self._fill(block.sessions[-1], state.with_bars)
        metadata = simulation_metadata(simulation_id, self._reports)
        self._context.log_event(dg.AssetMaterialization(SIMULATIONS, metadata=dict(metadata)))

    def _train_block(self, simulation_id: int, block: Block, tickers: Sequence[str]) -> None:
        """Train and judge the models of a block without changing the registry."""
        with self._project.database.transaction() as conn:
            judged = judged_tickers(conn, simulation_id, block.first_session)
        pending = [ticker for ticker in tickers if ticker not in judged]
        if not pending:
            return
        report = self._trained(pending, block.trained_on)
        settings = self._project.settings
        with self._project.database.transaction() as conn:
            decisions = judge_newest(conn, pending, settings, trained_on=report.trained_on).decisions
            models = {
                decision.ticker: (
                    decision.candidate.checkpoint_id if decision.candidate else None,
                    [rule.reason for rule in decision.verdict.rules if not rule.passed],
                )
                for decision in decisions
            }
            record_models(conn, simulation_id, block.first_session, models)
        for decision in decisions:
            passed = "passed" if decision.verdict.passed else "did not pass"
            self._context.log.info(f"simulation {simulation_id}: {decision.ticker} {passed} the gate")

    def _forecast_block(self, simulation_id: int, block: Block, tickers: Sequence[str]) -> None:
        for session in block.sessions:
            partitions = [DailyPartition(session, ticker) for ticker in tickers]
            windows = build_features(self._project, self._calendar, partitions)
            forecasts, reports = take_daily_snapshots(self._project, self._calendar, partitions, simulation_id)
            self._reports += reports
            failed = windows.failed | forecasts.failed
            if failed:
                self._conclude(SIMULATIONS, Outcome(failed=failed, notes=forecasts.notes))
            for line in forecasts.summary:
                self._context.log.info(line)

    def _fill(self, last: date, tickers: Sequence[str]) -> None:
        """Fill the actuals of sessions up to `last`; the intervals of later blocks are computed from them."""
        with self._project.database.transaction() as conn:
            report = fill(conn, as_of=last, config=self._project.settings.ledger, tickers=tickers)
        if report.num_filled:
            self._context.log.info(f"{counted(report.num_filled, 'actual')} filled")

    def _train(self) -> None:
        """Train on all bars up to today, and promote the models that pass the gate.

        If the source has no later session, as in the demo, the newest models are judged without another training.
        """
        state = self._state()
        if not state.untrained:
            return
        if not state.is_over:
            self._train_today(state)
        project = self._project
        with project.database.transaction() as conn:
            result = run_gate(
                conn,
                project.checkpoint_folder,
                state.untrained,
                project.settings,
                degraded=degraded_checkpoints(conn, project.settings),
                run_id=self._context.run_id,
            )
        self._conclude("registry", outcome_of_gate(result))
        for alert in result.alerts:
            self._context.log.log(alert.severity.upper(), f"{alert.subject}: {alert.summary}")
        self._context.log.info(remove_unneeded_files(project, state.untrained))

    def _train_today(self, state: BootstrapState) -> None:
        self._reporter.stage(f"models on all bars for {_tickers(state.untrained)}")
        report = self._trained(state.untrained, state.last)
        self._conclude("backtests", trained_backtests(report))
        self._conclude("checkpoints", trained_checkpoints(report))

    def _trained(self, tickers: Sequence[str], trained_on: date) -> TrainingReport:
        """Train the models that are not up to date, in a leased slot."""
        log = self._context.log.info
        with training_place(self._project, self._config.device, log, self._reporter, num_tickers=len(tickers)) as place:
            return train(
                self._project,
                self._calendar,
                tickers,
                place,
                trained_on=trained_on,
                parts=PARTS,
                log=log,
                reporter=self._reporter,
            )

    def _close(self) -> None:
        """Seal the record, and report the leaderboard of the newest simulation."""
        self._reporter.stage("seal and leaderboard")
        publications = all_publications(self._project, self._context.instance)
        self._context.log.info(seal_and_publish(self._project.database, publications).summary)
        with self._project.database.transaction() as conn:
            metadata = leaderboard_metadata(conn, simulated=True)
        self._context.log_event(dg.AssetMaterialization("leaderboard", metadata=dict(metadata)))

    def _conclude(self, asset: str, outcome: Outcome) -> None:
        log_outcome(self._context, asset, outcome)
        earlier = self._outcomes.get(asset, Outcome())
        self._outcomes[asset] = Outcome(done=earlier.done | outcome.done, failed=earlier.failed | outcome.failed)


def _tickers(tickers: Sequence[str]) -> str:
    return counted(len(tickers), "ticker")
