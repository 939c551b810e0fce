"""`ldtm placebo`: what the gates say of models that cannot know anything, and of made-up tickers that are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ldtm_assets.training.placement import HoldingReporter, training_place
from ldtm_cli.demo import TrainingBar
from ldtm_lib.errors import ConfigurationError, MissingBar, TooFewBars
from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.features.windows import windows_of
from ldtm_lib.placebo.calibration import PlaceboReport, PlaceboTally, require_folds, run_placebo
from ldtm_lib.placebo.canaries import CanaryReport, run_canaries
from ldtm_lib.placebo.shuffling import shuffled
from ldtm_lib.prices.bars import BAR_COLUMNS
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar
from ldtm_lib.statistics.wilson import Interval
from ldtm_lib.training.run import TrainingContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a calibration found."""

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


def print_calibration(console: Console, found: Calibration, min_accuracy: float) -> None:
    """Show what a calibration found, in tables and in words."""
    _print_canaries(console, found.canaries)
    _print_placebo(console, found.placebo, min_accuracy)
    for reason in found.left_out.values():
        console.print(f"[yellow]left out[/]  {escape(reason)}", soft_wrap=True)
    for name, reason in found.placebo.untrained.items():
        console.print(f"[yellow]untrained[/] {name}: {escape(reason)}", soft_wrap=True)


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


def _print_canaries(console: Console, report: CanaryReport) -> None:
    table = Table(title="Canaries: made-up tickers of which is known what must come out")
    for name in ("", "ticker", "what it must do", "four rules", "strict gate", "accuracy", "timing p"):
        table.add_column(name, justify="right" if name in ("accuracy", "timing p") else "left")
    for canary in report.canaries:
        table.add_row(
            "[green]✓[/]" if canary.is_as_expected else "[red]✗[/]",
            canary.ticker,
            canary.expected,
            "passed" if canary.passed else "failed",
            "passed" if canary.passed_strict else "failed",
            _percent(canary.accuracy),
            "" if canary.timing_p is None else f"{canary.timing_p:.2g}",
        )
    console.print(table)
    for canary in report.canaries:
        if not canary.is_as_expected:
            console.print(f"[red]{canary.ticker}[/] {escape(canary.found)}", soft_wrap=True)
    if report.checks_see:
        console.print("[green]The checks see what they should[/]: coins are refused, skill passes, a leak is caught.\n")
        return
    console.print(
        "[red]The checks do not see what they should.[/] A planted future that is not found: the [training] settings "
        "learn too little, or the tests are too blunt for so few test sessions. A leak that passes: a fault. A coin "
        "that passes has its luck once in a while: try another --seed; twice in a row is a fault.\n",
        soft_wrap=True,
    )


def _print_placebo(console: Console, report: PlaceboReport, min_accuracy: float) -> None:
    table = Table(
        title=f"Placebos: {report.num_copies} copies of each ticker, their futures exchanged.\n"
        "Let through by the four rules: placebos; as many coins; always up. By the strict gate: placebos"
    )
    table.add_column("ticker")
    for name in ("models", "placebos", "coins", "always up", "strict", "accuracy", "rises"):
        table.add_column(name, justify="right")
    for ticker, tally in report.by_ticker.items():
        table.add_row(ticker, *_cells(tally))
    table.add_section()
    table.add_row("all", *_cells(report.total))
    console.print(table)
    total = report.total
    if not total.num_models:
        console.print("[red]No placebo could be trained.[/]")
        return
    console.print(
        f"The four rules let through {total.num_passed} of {total.num_models} models that cannot know anything "
        f"({_share(total.num_passed, total, total.passed_interval)}); of as many coins "
        f"{total.coins_expected:.1f} would have been ({total.coins_expected / total.num_models:.1%}).",
        soft_wrap=True,
    )
    console.print(
        f"The strict gate let through {total.num_passed_strict} of them "
        f"({_share(total.num_passed_strict, total, total.passed_strict_interval)}).",
        soft_wrap=True,
    )
    console.print(
        "A placebo may do better than a coin without knowing anything: it learns that prices rise more often than they "
        f"fall and says so. Always saying up meets {min_accuracy:.0%} for {total.num_always_up} of the "
        f"{total.num_models}.",
        soft_wrap=True,
    )
    rules = Table(title="Which rule refused how many placebos")
    rules.add_column("rule")
    rules.add_column("refused", justify="right")
    rules.add_column("share", justify="right")
    for rule, num_failed in report.failed_by_rule.items():
        rules.add_row(rule, f"{num_failed}", f"{num_failed / total.num_models:.1%}")
    console.print(rules)


def _cells(tally: PlaceboTally) -> tuple[str, ...]:
    return (
        f"{tally.num_models}",
        f"{tally.num_passed}",
        f"{tally.coins_expected:.1f}",
        f"{tally.num_always_up}",
        f"{tally.num_passed_strict}",
        _percent(tally.mean_accuracy),
        _percent(tally.mean_base_rate),
    )


def _share(num: int, tally: PlaceboTally, interval: Interval | None) -> str:
    if interval is None:
        return "no model"
    return f"{num / tally.num_models:.1%}, 95% interval {interval.low:.1%} to {interval.high:.1%}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
