"""Calibration of the gate: placebos and canaries, trained and judged with the settings of a configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ldtm_assets.training.placement import HoldingReporter, training_place
from ldtm_cli.training_bar import SeriesBar, TrainingBar
from ldtm_lib.errors import ConfigurationError, MissingBar, TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.models.cpu import available_cores
from ldtm_lib.placebo.calibration import PlaceboReport, require_folds, run_placebo
from ldtm_lib.placebo.canaries import CanaryReport, run_canaries
from ldtm_lib.placebo.retrainings import (
    SESSIONS_BETWEEN,
    RetrainingReport,
    Workload,
    require_retrainings,
    run_retrainings,
    workload,
)
from ldtm_lib.placebo.shuffling import shuffled
from ldtm_lib.prices.bars import BAR_COLUMNS
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.training.run import TrainingContext
from ldtm_lib.wording import counted, duration_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Result of a calibration."""

    canaries: CanaryReport
    placebo: PlaceboReport
    left_out: Mapping[str, str]
    """Tickers of the universe that could not take part, with the reason."""

    def as_dict(self) -> dict[str, object]:
        """The calibration for JSON."""
        return {
            "canaries": self.canaries.as_dict(),
            "placebo": self.placebo.as_dict(),
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingCalibration:
    """Result of a calibration over many retrainings."""

    retrainings: RetrainingReport
    left_out: Mapping[str, str]
    """Tickers of the universe that could not take part, with the reason."""

    def as_dict(self) -> dict[str, object]:
        """The calibration for JSON."""
        return {**self.retrainings.as_dict(), "left_out": dict(self.left_out)}


def calibrate(
    project: Project,
    calendar: Calendar,
    tickers: Sequence[str] | None,
    *,
    num_copies: int,
    seed: int,
    device: str,
    last_bars: int | None,
    console: Console,
) -> Calibration:
    """Train canaries and placebos in a training slot, and judge them; nothing is written to the database.

    If `tickers` is None, all tickers of the universe take part. `last_bars` limits each history to its newest bars.
    Raises UnknownTicker, MissingBar or TooFewBars for a named ticker that cannot take part. Of the whole universe such
    tickers are left out; TooFewBars is raised only if none remains.
    """

    def require(windows: WindowSet) -> None:
        require_folds(windows, project.settings)
        shuffled(windows, seed=seed, copy=0)

    windows, left_out = _taking_part(project, calendar, tickers, last_bars=last_bars, require=require)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TimeElapsedColumn())
    with Progress(SpinnerColumn(finished_text="[green]✓[/]"), *columns, console=console) as progress:
        bar = TrainingBar(progress)

        def log(line: str) -> None:
            progress.console.print(escape(line), soft_wrap=True)

        with training_place(project, device, log, bar, num_tickers=len(windows)) as place:
            reporter = HoldingReporter(bar, place.lease)

            def context() -> TrainingContext:
                return place.context(project.settings, reporter.start(log), on_notice=lambda new: log(new.text))

            canaries = run_canaries(context(), calendar, seed=seed)
            placebo = run_placebo(windows, context(), num_copies=num_copies, seed=seed)
    return Calibration(canaries=canaries, placebo=placebo, left_out=left_out)


def calibrate_retrainings(
    project: Project,
    calendar: Calendar,
    tickers: Sequence[str] | None,
    *,
    num_retrainings: int,
    num_copies: int,
    seed: int,
    device: str,
    last_bars: int | None,
    console: Console,
    show: Callable[[RetrainingCalibration], None],
) -> None:
    """Retrain placebos every five sessions up to the newest bar and judge each time; nothing is written.

    The other arguments and the errors are the same as for `calibrate`. The number of networks and an estimate of the
    time are printed before the first retraining. `show` receives the result; after an interruption, the result of the
    completed retrainings.
    """

    def require(windows: WindowSet) -> None:
        require_retrainings(windows, project.settings, num_retrainings)

    windows, left_out = _taking_part(project, calendar, tickers, last_bars=last_bars, require=require)

    def log(line: str) -> None:
        console.print(escape(line), soft_wrap=True, highlight=False)

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        waiting = TrainingBar(progress)
        with training_place(project, device, log, waiting, num_tickers=len(windows)) as place:
            trial = place.context(project.settings)
            planned = workload(windows, trial, num_retrainings=num_retrainings, num_copies=num_copies)
            log(_estimate(planned, len(windows), num_retrainings, num_copies, place.device))
            bar = SeriesBar(progress, num_trainings=num_retrainings, num_networks=planned.num_networks)
            reporter = HoldingReporter(bar, place.lease)

            def context() -> TrainingContext:
                return place.context(project.settings, reporter.start(log), on_notice=lambda new: log(new.text))

            newest: RetrainingReport | None = None
            try:
                for report in run_retrainings(
                    windows,
                    context,
                    num_retrainings=num_retrainings,
                    num_copies=num_copies,
                    seed=seed,
                    on_retraining=bar.begin,
                ):
                    newest = report
            finally:
                progress.stop()
                if newest is not None:
                    show(RetrainingCalibration(retrainings=newest, left_out=left_out))


def _estimate(planned: Workload, num_tickers: int, num_retrainings: int, num_copies: int, device: str) -> str:
    """Describe the amount of work; on a GPU, where networks train together, the sum of their times is a bound."""
    num_at_once = available_cores() if device == "cpu" else 1
    seconds = planned.num_networks * planned.seconds_per_network / num_at_once
    how = f"{num_at_once} at once" if device == "cpu" else "less where many train together"
    return (
        f"{counted(planned.num_networks, 'network')} to train: {counted(num_retrainings, 'retraining')}, one every "
        f"{SESSIONS_BETWEEN} sessions, of {counted(num_tickers, 'ticker')} x {counted(num_copies, 'copy', 'copies')} "
        f"with all folds; a trial network took "
        f"{planned.seconds_per_network:.2f} s, so about {duration_text(seconds)} ({how})"
    )


def _taking_part(
    project: Project,
    calendar: Calendar,
    tickers: Sequence[str] | None,
    *,
    last_bars: int | None,
    require: Callable[[WindowSet], None],
) -> tuple[dict[str, WindowSet], dict[str, str]]:
    """Return the windows of every ticker that can take part, and the reason for each of the others.

    `require` raises TooFewBars for a ticker with too few windows.
    """
    settings = project.settings
    if tickers is not None and not tickers:
        raise ConfigurationError(
            "--tickers names no ticker; list tickers as in --tickers AAPL,MSFT, or omit the option for all"
        )
    asked = list(dict.fromkeys(settings.require_ticker(ticker) for ticker in tickers or settings.tickers))
    with project.database.transaction() as conn:
        bars = current_bars(conn, asked)
    if last_bars is not None:
        bars = bars.group_by("ticker", maintain_order=True).tail(last_bars)
    windows = windows_of(bars.select(BAR_COLUMNS), calendar, settings.window) if len(bars) else {}
    left_out: dict[str, str] = {}
    for ticker in asked:
        try:
            if ticker not in windows:
                raise MissingBar(
                    f"{ticker} has no bars; materialize price_history for it, or import its file with `ldtm prices "
                    "import`"
                )
            require(windows[ticker])
        except (MissingBar, TooFewBars) as reason:
            if tickers:
                raise
            left_out[ticker] = str(reason)
    able = {ticker: windows[ticker] for ticker in asked if ticker not in left_out}
    if not able:
        raise TooFewBars(f"no ticker of the universe can take part: {'; '.join(left_out.values())}")
    return able, left_out
