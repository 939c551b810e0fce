"""Calibration of the gate: placebos and canaries, trained and judged with the settings of a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ldtm_assets.training.placement import HoldingReporter, training_place
from ldtm_cli.training_bar import TrainingBar
from ldtm_lib.errors import ConfigurationError, MissingBar, TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.placebo.calibration import PlaceboReport, require_folds, run_placebo
from ldtm_lib.placebo.canaries import CanaryReport, run_canaries
from ldtm_lib.placebo.shuffling import shuffled
from ldtm_lib.prices.bars import BAR_COLUMNS
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.training.run import TrainingContext


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
    """Train canaries and placebos in the slot of a training, and judge them; nothing is written to the database.

    `tickers` are those named by the caller, all of the universe when None; `last_bars` shortens each history to its
    newest bars. A ticker that is named and cannot take part raises UnknownTicker, MissingBar or TooFewBars; of a whole
    universe it is left out, unless nobody is left.
    """
    windows, left_out = _taking_part(project, calendar, tickers, last_bars=last_bars, seed=seed)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TimeElapsedColumn())
    with Progress(SpinnerColumn(finished_text="[green]✓[/]"), *columns, console=console) as progress:
        bar = TrainingBar(progress)

        def log(line: str) -> None:
            progress.console.print(escape(line), soft_wrap=True)

        with training_place(project, device, log, bar) as place:
            reporter = HoldingReporter(bar, place.lease)

            def context() -> TrainingContext:
                return TrainingContext(settings=project.settings, device=place.device, callbacks=reporter.start(log))

            canaries = run_canaries(context(), calendar, seed=seed)
            placebo = run_placebo(windows, context(), num_copies=num_copies, seed=seed)
    return Calibration(canaries=canaries, placebo=placebo, left_out=left_out)


def _taking_part(
    project: Project, calendar: Calendar, tickers: Sequence[str] | None, *, last_bars: int | None, seed: int
) -> tuple[dict[str, WindowSet], dict[str, str]]:
    """The windows of every ticker that can take part, and why the others cannot."""
    settings = project.settings
    if tickers is not None and not tickers:
        raise ConfigurationError("--tickers names no ticker; write it such as AAPL,MSFT, or leave it out for all")
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
                raise MissingBar(f"{ticker} has no bars; materialize price_history for it, or import its file")
            require_folds(windows[ticker], settings)
            shuffled(windows[ticker], seed=seed, copy=0)
        except (MissingBar, TooFewBars) as reason:
            if tickers:
                raise
            left_out[ticker] = str(reason)
    able = {ticker: windows[ticker] for ticker in asked if ticker not in left_out}
    if not able:
        raise TooFewBars(f"no ticker of the universe can take part: {'; '.join(left_out.values())}")
    return able, left_out
