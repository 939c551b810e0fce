"""`ldtm export` and `ldtm forecast`: files of the active models, and forecasts that are not recorded."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_cli.invocation import EXIT_FAILED, NOTHING, AsJson, console, errors, print_json, ready_project, ticker_list
from ldtm_cli.tables import rows_table

if TYPE_CHECKING:
    from ldtm_lib.export.certificate import Certificate
    from ldtm_lib.ledger.preview import Preview
    from ldtm_lib.project import Project
    from ldtm_lib.registry.engines import EngineReport
    from ldtm_lib.registry.exports import ExportReport

app = typer.Typer(
    help="Export the active models: `ldtm export` writes all of them as ONNX files, `ldtm export tensorrt` builds "
    "engines.",
)

Tickers = Annotated[
    str | None, typer.Argument(metavar="TICKERS", help="Tickers such as AAPL,MSFT. Default: all with an active model.")
]


@app.callback(invoke_without_command=True)
def export(context: typer.Context, as_json: AsJson = False) -> None:
    """Export the active models: all of them as ONNX files without a sub-command, as engines with `tensorrt`."""
    if context.invoked_subcommand is None:
        export_onnx(None, as_json)
    elif as_json:
        raise typer.BadParameter(f"write --json after `{context.invoked_subcommand}`")


@app.command("onnx")
def export_onnx(tickers: Tickers = None, as_json: AsJson = False) -> None:
    """Export the active models as ONNX files with certificates, and one file with all of them.

    Files that are up to date are kept. Files of versions that are no longer active are removed. A file whose forecasts
    differ from those of its checkpoint is refused. Exit status 1 if a file was refused, or if a ticker has no active
    model.
    """
    from ldtm_lib.registry.exports import export_models
    from ldtm_lib.sessions import exchange_calendar

    project = ready_project()
    chosen = _chosen(project, tickers)
    report = export_models(project, exchange_calendar(), made_at=datetime.now(UTC), tickers=chosen)
    if as_json:
        print_json(_onnx_document(report))
    else:
        print_onnx(console, errors, report)
    if report.refused or report.without_model:
        raise typer.Exit(EXIT_FAILED)


@app.command("tensorrt")
def export_tensorrt(
    tickers: Tickers = None,
    rtx: Annotated[bool, typer.Option("--rtx", help="Build with TensorRT-RTX, for RTX GPUs.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Compute in float16 instead of float32.")] = False,
    compute_capability: Annotated[
        str | None,
        typer.Option(
            metavar="8.9", help="With --rtx: compute capability to build for. Default: that of this machine's GPU."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build TensorRT engines of the active models; missing ONNX files are exported first.

    TensorRT builds an engine on the GPU that is to run it; TensorRT-RTX can also build without a GPU, for a compute
    capability. An engine that this machine can run is compared with its checkpoint, and refused if it differs; any
    other engine has no certificate until the command is run on a machine with that GPU. Engines that are up to date are
    kept. The section `export` of the configuration applies to Dagster, not to this command. Exit status 1 if an engine
    was refused, or if a ticker has no active model.
    """
    from ldtm_lib.registry.engines import export_engines
    from ldtm_lib.sessions import exchange_calendar

    project = ready_project()
    report = export_engines(
        project,
        exchange_calendar(),
        made_at=datetime.now(UTC),
        tickers=_chosen(project, tickers),
        flavour="tensorrt-rtx" if rtx else "tensorrt",
        precision="fp16" if fp16 else "fp32",
        compute_capability=compute_capability,
    )
    if as_json:
        print_json(_engine_document(report))
    else:
        print_engines(console, errors, report)
    if report.refused or report.onnx.without_model:
        raise typer.Exit(EXIT_FAILED)


def _chosen(project: "Project", tickers: str | None) -> list[str] | None:
    """The tickers of the argument. Raises UnknownTicker."""
    chosen = ticker_list(tickers)
    for ticker in chosen or ():
        project.settings.require_ticker(ticker)
    return chosen


def _onnx_document(report: "ExportReport") -> dict[str, object]:
    return {
        "exported": [
            {
                "name": each.name,
                "path": str(each.path),
                "is_new": each.is_new,
                "sha256": each.certificate.onnx_sha256,
            }
            for each in report.exported
        ],
        "refused": dict(report.refused),
        "without_model": list(report.without_model),
        "removed": list(report.removed),
    }


def _engine_document(report: "EngineReport") -> dict[str, object]:
    return {
        "engines": [
            {
                "ticker": each.ticker,
                "path": str(each.path),
                "is_new": each.is_new,
                "is_certified": each.certificate is not None,
                "sha256": each.record.engine_sha256,
                "onnx_sha256": each.record.onnx_sha256,
                "gpu_name": each.record.gpu_name,
                "compute_capability": each.record.compute_capability,
                "version": each.record.version,
            }
            for each in report.engines
        ],
        "not_run": report.not_run,
        "refused": dict(report.refused),
        "without_model": list(report.onnx.without_model),
        "removed": list(report.onnx.removed),
    }


def print_onnx(console: Console, errors: Console, report: "ExportReport") -> None:
    """Print the files of an export, and the reasons why tickers have none."""
    _print_without_model(errors, report)
    if not report.exported and not report.refused and not report.without_model:
        _print_no_model(console)
        return
    table = _table("file")
    for each in report.exported:
        table.add_row(
            escape(each.path.name),
            _megabytes(each.path.stat().st_size),
            _largest_difference(each.certificate),
            "exported" if each.is_new else "up to date",
        )
    console.print(table)
    if report.refused or report.removed:
        console.print()
    _print_refused(errors, report.refused)
    _print_removed(console, report.removed)


def print_engines(console: Console, errors: Console, report: "EngineReport") -> None:
    """Print the engines of an export, what they were built for, and the reasons why tickers have none."""
    _print_without_model(errors, report.onnx)
    if not report.engines and not report.refused and not report.onnx.without_model:
        _print_no_model(console)
        return
    table = _table("ticker")
    for each in report.engines:
        done = "built" if each.is_new else "up to date"
        table.add_row(
            escape(each.ticker),
            _megabytes(each.path.stat().st_size),
            _largest_difference(each.certificate) if each.certificate else NOTHING,
            done if each.certificate else f"{done}, not certified",
        )
    console.print(table)
    console.print()
    if report.engines:
        record = report.engines[0].record
        gpu = record.gpu_name or f"GPUs of compute capability {record.compute_capability}"
        console.print(
            escape(f"{record.flavour} {record.version}, {record.precision}, for {gpu}"), soft_wrap=True, highlight=False
        )
    if any(each.certificate is None for each in report.engines):
        errors.print(f"[yellow]not certified:[/] {escape(str(report.not_run))}", soft_wrap=True, highlight=False)
    _print_refused(errors, report.refused)
    _print_removed(console, report.onnx.removed)


def _table(name: str) -> Table:
    """A table of files: their names or tickers, sizes, largest differences, and what was done."""
    table = rows_table()
    table.add_column(name)
    for heading in ("MB", "largest relative\ndifference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("result")
    return table


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f}"


def _largest_difference(certificate: "Certificate") -> str:
    """The largest relative difference of a certificate, of ONNX Runtime or of the engine."""
    return f"{max(rule.figure or 0 for rule in certificate.rules if 'difference' in rule.name):.1e}"


def _print_without_model(errors: Console, report: "ExportReport") -> None:
    for ticker in report.without_model:
        errors.print(
            f"[yellow]refused:[/] {escape(ticker)} has no active model; `ldtm registry list` shows why",
            soft_wrap=True,
            highlight=False,
        )


def _print_no_model(console: Console) -> None:
    console.print("No ticker has an active model. `ldtm registry list` shows the gate's verdicts.", highlight=False)


def _print_refused(errors: Console, refused: Mapping[str, str]) -> None:
    for name, reason in refused.items():
        errors.print(f"[yellow]refused:[/] {escape(name)}: {escape(reason)}", soft_wrap=True, highlight=False)


def _print_removed(console: Console, removed: Sequence[str]) -> None:
    for name in removed:
        console.print(f"removed {escape(name)}, whose version is no longer active", soft_wrap=True, highlight=False)


def forecast(
    tickers: Annotated[list[str], typer.Argument(help="Tickers with an active model.")],
    backend: Annotated[
        Literal["torch", "onnx", "tensorrt"], typer.Option(help="Runtime that computes the networks.")
    ] = "torch",
    as_json: AsJson = False,
) -> None:
    """Forecast from the newest stored window of each ticker with its active model, without recording anything.

    Forecasts on record are written by `ldtm run` and the schedules. Exit status 1 if a ticker has no forecast.
    """
    from ldtm_lib.ledger.preview import previews
    from ldtm_lib.sessions import exchange_calendar

    project = ready_project()
    for ticker in tickers:
        project.settings.require_ticker(ticker)
    found, missing = previews(project, exchange_calendar(), tickers, backend=backend)
    if as_json:
        print_json({"forecasts": [each.as_dict() for each in found], "missing": dict(missing)})
    else:
        print_previews(console, errors, found, missing)
    if missing:
        raise typer.Exit(EXIT_FAILED)


def print_previews(console: Console, errors: Console, found: "Sequence[Preview]", missing: Mapping[str, str]) -> None:
    """Print forecasts that are not on record, and the reasons why tickers have none."""
    if found:
        table = rows_table(is_dense=True)
        for name in ("ticker", "run date"):
            table.add_column(name)
        for name in ("close", "next day", "Monday", "month"):
            table.add_column(name, justify="right")
        for name in ("direction", "model"):
            table.add_column(name)
        for each in found:
            prices = (f"{price:.2f}" for price in (each.close, *each.prices))
            table.add_row(each.ticker, str(each.run_date), *prices, each.direction, each.version)
        console.print(table)
        if missing:
            console.print()
    for ticker, reason in missing.items():
        errors.print(f"[yellow]no forecast:[/] {escape(ticker)} {escape(reason)}", soft_wrap=True, highlight=False)
