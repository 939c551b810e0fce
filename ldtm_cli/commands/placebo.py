"""`ldtm placebo`: a calibration of the gate."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, errors, print_json, ready_project, ticker_list
from ldtm_cli.tables import rows_table
from ldtm_lib.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldtm_cli.calibration import Calibration, RetrainingCalibration
    from ldtm_lib.placebo.calibration import PlaceboReport, PlaceboTally
    from ldtm_lib.placebo.canaries import CanaryReport
    from ldtm_lib.statistics.wilson import Interval


def placebo(
    copies: Annotated[int, typer.Option(min=1, help="Placebo models per ticker.")] = 10,
    tickers: Annotated[
        str | None, typer.Option(help="Tickers such as AAPL,MSFT. Default: all of the universe that can take part.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the label shuffle and of the canaries.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    last_bars: Annotated[
        int | None, typer.Option(min=1, help="Use only this many of each ticker's newest bars. Default: all.")
    ] = None,
    retrainings: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Retrain the placebos this many times, every 5 sessions up to the newest bar (52 are a year), and "
            "count those active at the end. Trains no canaries.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate the gate: count the models that pass it although they cannot have learned anything.

    Trains canaries (synthetic tickers with a known outcome), then placebos (models of the stored bars with shuffled
    labels), with this configuration's settings. Writes nothing to the database; the dashboard shows the newest
    figures next to each verdict. Exit status 1 if a canary does not give its known outcome. With --retrainings N it
    instead retrains placebos N times, 5 sessions apart (52 are a year), and compares three gates on the same
    forecasts: the four rules of accuracy, price error, leakage and folds; the plain gate; the strict gate.
    """
    from ldtm_cli.calibration import calibrate, calibrate_retrainings
    from ldtm_lib.placebo.kept import keep
    from ldtm_lib.sessions import exchange_calendar

    project = ready_project()
    if retrainings is not None:

        def show(found: "RetrainingCalibration") -> None:
            print_json(found.as_dict()) if as_json else print_retrainings(console, found)

        calibrate_retrainings(
            project,
            exchange_calendar(),
            ticker_list(tickers),
            num_retrainings=retrainings,
            num_copies=copies,
            seed=seed,
            device=device,
            last_bars=last_bars,
            console=errors if as_json else console,
            show=show,
        )
        return
    found = calibrate(
        project,
        exchange_calendar(),
        ticker_list(tickers),
        num_copies=copies,
        seed=seed,
        device=device,
        last_bars=last_bars,
        console=errors if as_json else console,
    )
    keep(project.home, found.placebo.kept(datetime.now(UTC)))
    if as_json:
        print_json(found.as_dict())
    else:
        print_calibration(console, found, project.settings.gate.min_direction_accuracy)
    if not found.canaries.checks_see:
        raise typer.Exit(EXIT_FAILED)


def print_calibration(console: Console, found: "Calibration", min_accuracy: float) -> None:
    """Print the results of a calibration, as tables and in sentences."""
    _print_canaries(console, found.canaries)
    _print_placebo(console, found.placebo, min_accuracy)
    _print_absent(console, found.left_out, "copy not trained", found.placebo.untrained)


def print_retrainings(console: Console, found: "RetrainingCalibration") -> None:
    """Show how many placebos are active after all retrainings, by gate and by ticker, and which rules refused them."""
    report = found.retrainings
    is_complete = report.num_retrainings == report.num_asked
    done = "" if is_complete else f"{report.num_retrainings} of "
    retrainings = counted(report.num_asked, "retraining")
    copies = counted(report.num_copies, "placebo copy", "placebo copies")
    table = rows_table(f"After {done}{retrainings} of {copies} of each ticker")
    table.add_column("gate")
    for name in ("models", "active", "share", "95% interval", "promotions", "of these,\nreplacements"):
        table.add_column(name, justify="right")
    for tally in report.gates:
        table.add_row(
            tally.gate,
            f"{tally.num_models}",
            f"{tally.num_active}",
            _percent(tally.num_active / tally.num_models if tally.num_models else None),
            f"{tally.active_interval.low:.1%}–{tally.active_interval.high:.1%}" if tally.active_interval else "",
            f"{tally.num_promotions}",
            f"{tally.num_replacements}",
        )
    console.print(table)
    console.print(
        "\nFour rules: direction accuracy, price error, leakage and folds. With them alone, every candidate that "
        "passes replaces the active model.\n"
    )
    by_ticker = rows_table("Placebos that are active after these retrainings")
    by_ticker.add_column("ticker")
    for tally in report.gates:
        by_ticker.add_column(tally.gate, justify="right")
    for ticker, num_active in report.active_by_ticker.items():
        by_ticker.add_row(ticker, *(f"{num_active[tally.gate]}" for tally in report.gates))
    console.print(by_ticker)
    console.print()
    rules = rows_table(f"Failed rules in {counted(len(report.retrainings), 'judged retraining')}")
    rules.add_column("rule")
    for tally in report.gates:
        rules.add_column(tally.gate, justify="right")
    for rule in dict.fromkeys(rule for tally in report.gates for rule in tally.refused_by_rule):
        counts = (tally.refused_by_rule.get(rule) for tally in report.gates)
        rules.add_row(rule, *("" if count is None else f"{count}" for count in counts))
    console.print(rules)
    console.print(
        "\nNo placebo has live rows, so none of these active models is ever found degraded: only a promotion replaces "
        "one."
    )
    _print_absent(console, found.left_out, "retraining of a copy failed", report.untrained)


def _print_absent(console: Console, left_out: "Mapping[str, str]", what: str, untrained: "Mapping[str, str]") -> None:
    if left_out or untrained:
        console.print()
    for reason in left_out.values():
        console.print(f"[yellow]left out[/]  {escape(reason)}", soft_wrap=True)
    for name, reason in untrained.items():
        console.print(f"[yellow]{what}[/]  {name}: {escape(reason)}", soft_wrap=True)


def _print_canaries(console: Console, report: "CanaryReport") -> None:
    table = rows_table("Canaries: synthetic tickers with a known outcome")
    for name in ("", "ticker", "expected outcome", "plain gate", "strict gate", "accuracy", "timing p"):
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
    console.print(
        "\nTiming p: the probability that random calls, as often up and as often down, are right at least as often.\n"
    )
    for canary in report.canaries:
        if not canary.is_as_expected:
            console.print(f"[red]{canary.ticker}[/] {escape(canary.found)}", soft_wrap=True)
    if report.checks_see:
        console.print("[green]The checks work[/]: coins are refused, skill passes, and a leak is caught.\n")
        return
    console.print(
        "[red]The checks do not work.[/] If a planted signal is not found, the `training` settings learn too little, "
        "or the tests have too little power with so few test sessions. If a leak passes, that is a bug. A coin passes "
        "by luck once in a while: try another --seed; twice in a row is a bug.\n",
    )


def _print_placebo(console: Console, report: "PlaceboReport", min_accuracy: float) -> None:
    copies = counted(report.num_copies, "copy", "copies")
    table = rows_table(f"Placebos: {copies} of each ticker with shuffled labels")
    table.add_column("ticker")
    for name in (
        "models",
        "pass the\nplain gate",
        f"coins with\n{min_accuracy:.0%} right",
        f"always up\n{min_accuracy:.0%} right",
        "pass the\nstrict gate",
        "accuracy",
        "up\ndays",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for ticker, tally in report.by_ticker.items():
        table.add_row(ticker, *_counts(tally))
    table.add_section()
    table.add_row("all", *_counts(report.total))
    console.print(table)
    console.print()
    total = report.total
    models = counted(total.num_models, "model")
    if not total.num_models:
        console.print("[red]No placebo could be trained.[/]")
        return
    console.print(
        f"{total.num_passed} of {models} that cannot have learned anything passed the plain gate "
        f"({_share(total.num_passed, total, total.passed_interval)}); of {total.num_models} coins, "
        f"{total.coins_expected:.1f} would be right in {min_accuracy:.0%} of their calls or more on average "
        f"({total.coins_expected / total.num_models:.1%}).",
    )
    console.print(
        f"{total.num_passed_strict} of {models} passed the strict gate "
        f"({_share(total.num_passed_strict, total, total.passed_strict_interval)}).",
    )
    console.print(
        "A placebo may do better than a coin although it has no skill: it learns that prices rise more often than they "
        f"fall, and forecasts rises. Always saying up reaches {min_accuracy:.0%} for {total.num_always_up} of the "
        f"{total.num_models}.\n",
    )
    rules = rows_table("Placebos refused by each rule")
    rules.add_column("rule")
    rules.add_column("refused", justify="right")
    rules.add_column("share", justify="right")
    for rule, num_failed in report.failed_by_rule.items():
        rules.add_row(rule, f"{num_failed}", f"{num_failed / total.num_models:.1%}")
    console.print(rules)


def _counts(tally: "PlaceboTally") -> tuple[str, ...]:
    return (
        f"{tally.num_models}",
        f"{tally.num_passed}",
        f"{tally.coins_expected:.1f}",
        f"{tally.num_always_up}",
        f"{tally.num_passed_strict}",
        _percent(tally.mean_accuracy),
        _percent(tally.mean_base_rate),
    )


def _share(num: int, tally: "PlaceboTally", interval: "Interval | None") -> str:
    if interval is None:
        return "no model"
    return f"{num / tally.num_models:.1%}, 95% interval {interval.low:.1%} to {interval.high:.1%}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
