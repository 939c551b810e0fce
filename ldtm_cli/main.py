"""The command `ldtm`: what an owner types."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_lib.errors import ConfigurationError, LdtmError
from ldtm_lib.installation import installed_version, ldtm_command

if TYPE_CHECKING:
    from ldtm_lib.project import Project

EXIT_FAILED = 1
"""Something could not be done; the message says what and the remedy."""
EXIT_USAGE = 2
"""The command line or the configuration is wrong."""

console = Console()
errors = Console(stderr=True)

app = typer.Typer(
    help="Forecasts of daily stock prices, one LSTM per ticker, and the record that holds them to account.\n\n"
    "Exit status: 0 when all went well, 1 when something failed, 2 when the command or the configuration is wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
registry_app = typer.Typer(help="Trained models: which one of a ticker may speak, and why the others may not.")
prices_app = typer.Typer(help="Daily bars.")
audit_app = typer.Typer(help="The record's hash chain: seal it, verify it, prove what is in it.")
alerts_app = typer.Typer(help="Notification of people.")
db_app = typer.Typer(help="The PostgreSQL database.")
app.add_typer(registry_app, name="registry", no_args_is_help=True)
app.add_typer(prices_app, name="prices", no_args_is_help=True)
app.add_typer(audit_app, name="audit", no_args_is_help=True)
app.add_typer(alerts_app, name="alerts", no_args_is_help=True)
app.add_typer(db_app, name="db", no_args_is_help=True)


class SourceKind(Enum):
    """Where the daily bars of a new project come from."""

    files = "files"
    ib = "ib"


class Basis(Enum):
    """Whether prices are split-adjusted."""

    adjusted = "adjusted"
    raw = "raw"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Why = Annotated[str, typer.Option(help="The reason, which goes on record.")]
By = Annotated[str | None, typer.Option(help="Who orders it, which goes on record. Default: the system's user.")]
Port = Annotated[int, typer.Option(help="Port of the Dagster UI.")]


def print_version(asked: bool) -> None:
    """Print the version and exit, when asked to."""
    if asked:
        console.print(f"ldtm {installed_version()}", highlight=False)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Configuration file. Default: $LDTM_CONFIG, else ./universe.toml. The demo's is demo.toml.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Read the global options."""
    del version
    if config is not None:
        from ldtm_lib.project import CONFIG_VARIABLE

        context.obj = config.resolve()
        os.environ[CONFIG_VARIABLE] = str(config.resolve())


@app.command()
def demo(context: typer.Context, as_json: AsJson = False) -> None:
    """Run the whole loop on bundled real bars: prices, backtests, gate, forecasts, actuals, leaderboard.

    Everything goes through the same Dagster assets that production uses, on the CPU, with an embedded PostgreSQL
    when LDTM_DATABASE_URL names no server. A second call does only what is not up to date. The configuration is
    demo.toml of the working folder, which is written when there is none; the state is in .ldtm beside it.
    """
    from ldtm_cli.demo import require_sample, run_demo
    from ldtm_cli.init import demo_config
    from ldtm_cli.services import prepare
    from ldtm_lib.database.connection import address
    from ldtm_lib.sessions import exchange_calendar

    with told():
        config = context.obj or demo_config(Path.cwd())
        require_sample(config)
        project, applied = prepare(config)
        quiet = errors if as_json else console
        if applied:
            quiet.print(f"PostgreSQL at {address(project.database.url)}, schema {project.database.schema} applied")
        worked = run_demo(project, exchange_calendar(), quiet)
        if not worked:
            quiet.print("Nothing new to do: every stage of the demo is up to date.")
        _show_leaderboard(project, simulated=True, as_json=as_json)
        if not as_json:
            console.print(DEMO_EPILOGUE.format(ldtm=ldtm_command()))


@app.command()
def init(
    context: typer.Context,
    tickers: Annotated[str | None, typer.Option(help="Tickers such as AAPL,MSFT; 103 large ones when absent.")] = None,
    source: Annotated[SourceKind, typer.Option(help="Where daily bars come from.")] = SourceKind.files,
) -> None:
    """Write universe.toml and the folders that a project needs into the working folder, and show the next steps.

    Never overwrites anything.
    """
    from ldtm_cli.init import create_project, next_steps

    with told():
        config = context.obj or Path("universe.toml")
        names = [name.strip() for name in tickers.split(",") if name.strip()] if tickers is not None else None
        for path in create_project(config, names, source.value):
            console.print(f"created {path}", highlight=False, markup=False, soft_wrap=True)
        console.print(next_steps(config, source.value), highlight=False, markup=False, soft_wrap=True, end="")


DEMO_EPILOGUE = """
[bold]What this shows.[/] Real figures of small networks on 30 simulated evenings.
No model spoke about a session that its training had seen. A model that the
gate refused spoke as [italic]candidate[/]: that is the demo's policy, set in demo.toml, so
that there are rows to show. Simulated rows never count as live ones.

[bold]Look at it[/]  {ldtm} -c demo.toml up   the Dagster UI, http://127.0.0.1:3000
[bold]Ask it[/]      {ldtm} -c demo.toml registry list        (see --help)
[bold]Doubt it[/]    {ldtm} -c demo.toml audit verify
[bold]Clean up[/]    {ldtm} down    stops all;  rm -rf .ldtm/ldtm_demo
"""


WITHOUT_LOGIN = (
    "the pages have no login, and whoever reaches {host} may do anything there; better set ui.host to 127.0.0.1 "
    "and put a reverse proxy with a login before it (docs/production.md)"
)


@app.command()
def up(
    port: Port = 3000,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop with Ctrl-C.")] = False,
) -> None:
    """Start everything: the database and its schema, the GPU pool, Dagster's webserver and daemon.

    Safe to call again. The pages have no login: they are served on 127.0.0.1, and elsewhere only when the section
    `pages` of the configuration allows it.
    """
    from ldtm_cli.services import (
        pages_address,
        prepare,
        prepare_dagster,
        require_free_port,
        run_dagster,
        running_dagster,
        start_dagster,
    )
    from ldtm_lib.database.connection import address
    from ldtm_lib.url import is_loopback

    with told():
        project, applied = prepare(_config())
        if running := running_dagster(project):
            console.print(f"already up: {running.address} (process {running.pid}; `ldtm down` stops it)")
            return
        host = project.settings.ui.host
        require_free_port(host, port)
        steps = f"applied {', '.join(applied)}" if applied else "up to date"
        console.print(f"database   {address(project.database.url)}, schema {project.database.schema}: {steps}")
        slots = prepare_dagster(project)
        console.print(f"GPU pool   {slots} training job{'s' if slots != 1 else ''} at once")
        if not is_loopback(host):
            errors.print(f"[yellow]warning:[/] {WITHOUT_LOGIN.format(host=host)}", soft_wrap=True, highlight=False)
        if foreground:
            console.print(f"Dagster    {pages_address(host, port)} (Ctrl-C stops it)")
            raise typer.Exit(run_dagster(project, port))
        pid = start_dagster(project, port)
        console.print(f"Dagster    {pages_address(host, port)} (process {pid}; `ldtm down` stops it)")


@app.command()
def down() -> None:
    """Stop Dagster and the embedded PostgreSQL of every configuration in this folder. The data stays."""
    from ldtm_cli.services import stop_everything

    with told():
        stopped = stop_everything(_config())
        console.print(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is fine, what is missing and what to do: versions, database, GPU, calendar, source, disk."""
    from ldtm_cli.doctor import examine, print_findings

    with told():
        findings = examine(_config(), os.environ)
        if as_json:
            print_json([finding.as_dict() for finding in findings])
        else:
            print_findings(console, findings)
        if any(finding.level == "fail" for finding in findings):
            raise typer.Exit(EXIT_FAILED)


@app.command()
def settings(
    as_json: AsJson = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the configuration file.")] = False,
) -> None:
    """Print every setting with its value, default and description; `*` marks those that differ from the default."""
    from ldtm_cli import settings as view

    with told():
        if schema:
            print_json(view.schema())
        elif as_json:
            print_json(view.settings_as_dicts(_config()))
        else:
            print(view.settings_text(_config()))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the last evening, what is open, what runs next, who speaks, and what people were told, on one screen.

    Starts and changes nothing. Exit status 1 when something needs a person; the last lines say what and the remedy.
    """
    from ldtm_cli.status_view import print_screen, read_screen
    from ldtm_lib.sessions import exchange_calendar

    with told():
        screen = read_screen(_config(), os.environ, exchange_calendar())
        print_json(screen.as_dict()) if as_json else print_screen(console, screen)
        if screen.needs:
            raise typer.Exit(EXIT_FAILED)


@app.command()
def leaderboard(
    simulated: Annotated[bool, typer.Option("--simulated", help="Count simulated rows instead of live ones.")] = False,
    shadows: Annotated[
        bool, typer.Option("--shadows", help="Show models that may not speak instead; these never count.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show who was right over the last 30 filled sessions: live rows by default."""
    with told():
        show = _show_shadows if shadows else _show_leaderboard
        show(_ready_project(), simulated=simulated, as_json=as_json)


@registry_app.command("list")
def registry_list(as_json: AsJson = False) -> None:
    """List per ticker the active model, the newest candidate, and the gate's last verdict with its reasons."""
    from ldtm_cli.registry_view import print_registry, registry_rows

    with told():
        rows = registry_rows(_ready_project())
        print_json(rows) if as_json else print_registry(console, rows)


@registry_app.command("show")
def registry_show(
    ticker: Annotated[str, typer.Argument(help="The ticker.")],
    as_json: AsJson = False,
) -> None:
    """Say in plain words what the gate saw of a ticker's models: how sure that is, and what a coin would have done."""
    from ldtm_cli.registry_view import cards_of, print_cards

    with told():
        cards = cards_of(_ready_project(), ticker)
        print_json(cards) if as_json else print_cards(console, cards)


@registry_app.command("history")
def registry_history(
    ticker: Annotated[str, typer.Argument(help="The ticker.")],
    as_json: AsJson = False,
) -> None:
    """List every version of a ticker: when it was active, who brought it back or took it out and why, its file."""
    from ldtm_cli.registry_view import print_versions, versions_of

    with told():
        versions = versions_of(_ready_project(), ticker)
        print_json([asdict(entry) for entry in versions]) if as_json else print_versions(console, ticker, versions)


@registry_app.command("rollback")
def registry_rollback(
    ticker: Annotated[str, typer.Argument(help="The ticker.")],
    why: Why,
    to: Annotated[
        str | None,
        typer.Option(help="The version to bring back. Default: the newest older network that no order ever took out."),
    ] = None,
    by: By = None,
) -> None:
    """Make an earlier network of a ticker active again, as a version of its own; the present one retires.

    A network that was retired by an order or rolled back from comes back only when --to names it; with no active model
    --to is needed. Forecasts that are on record stay as they are. The next candidate that passes the gate replaces it.
    """
    from ldtm_cli.registry_view import rollback_now, who_orders

    with told():
        done = rollback_now(_ready_project(), ticker, to, by=who_orders(by), why=why)
        console.print(escape(done.message), highlight=False, soft_wrap=True)


@registry_app.command("retire")
def registry_retire(
    ticker: Annotated[str, typer.Argument(help="The ticker.")],
    why: Why,
    by: By = None,
) -> None:
    """Retire a ticker's active model without another one: it abstains until a new candidate passes the gate."""
    from ldtm_cli.registry_view import retire_now, who_orders

    with told():
        done = retire_now(_ready_project(), ticker, by=who_orders(by), why=why)
        console.print(escape(done.message), highlight=False, soft_wrap=True)


@registry_app.command("prune")
def registry_prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove checkpoint files that nobody needs: old retired versions and candidates without a forecast on record.

    The section `registry` of the configuration says how many of each a ticker keeps. Active ones always stay.
    """
    from ldtm_cli.registry_view import print_removed, prune_now

    with told():
        files = prune_now(_ready_project(), dry_run=dry_run)
        print_json([asdict(file) for file in files]) if as_json else print_removed(console, files, dry_run=dry_run)


@app.command()
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be purged and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Purge old data that is not part of the record: logs, runs, refused bars, notifications, unneeded checkpoints.

    The section `retention` of the configuration says how long each is kept. Forecasts, actuals, bars, verdicts and
    seals are kept for good. Dagster runs this every Sunday.
    """
    from ldtm_cli.retention_view import print_report, purge_now

    with told():
        report = purge_now(_ready_project(), dry_run=dry_run)
        print_json(asdict(report)) if as_json else print_report(console, report, dry_run=dry_run)
        if report.failures:
            raise typer.Exit(EXIT_FAILED)


@app.command()
def fillback(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be filled and write nothing.")] = False,
    restated: Annotated[
        bool, typer.Option("--restated", help="List actuals whose bar was restated later, and write nothing.")
    ] = False,
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only targets up to this session; all when absent."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fill the actuals that are due into the forecasts that spoke about them, each once and for good."""
    from ldtm_cli import fillback_view as view
    from ldtm_lib.database.clock import last_closed_session

    with told():
        project = _ready_project()
        with project.database.transaction() as conn:
            until = as_of.date() if as_of else last_closed_session(conn)
        if restated:
            rows = view.rows_restated(project)
            print_json(rows) if as_json else view.print_restated(console, rows)
        elif dry_run:
            rows = view.rows_due(project, until)
            print_json(rows) if as_json else view.print_due(console, rows, until)
        else:
            report = view.fill_now(project, until)
            print_json(view.filled_as_dict(report)) if as_json else view.print_filled(console, report)


@app.command()
def replay(
    ticker: Annotated[str, typer.Argument(help="The ticker of the row.")],
    run_date: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="Its run date, such as 2026-11-20.")],
    as_json: AsJson = False,
) -> None:
    """Compute a forecast that is on record again, from the bars and the network of that evening.

    Exit status 1 when anything comes out different, or when it cannot be computed: the message says why.
    """
    from ldtm_cli.replay_view import print_replay, replay_now

    with told():
        found = replay_now(_ready_project(), ticker, run_date.date())
        print_json(found.as_dict()) if as_json else print_replay(console, found)
        if not found.is_equal:
            raise typer.Exit(EXIT_FAILED)


@app.command()
def placebo(
    copies: Annotated[int, typer.Option(min=1, help="Placebo models per ticker.")] = 10,
    tickers: Annotated[
        str | None, typer.Option(help="Tickers such as AAPL,MSFT; all of the universe that can take part when absent.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the exchange and of the canaries.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    last_bars: Annotated[
        int | None, typer.Option(min=1, help="Only so many of each ticker's newest bars; all when absent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate the gate: count the models that it lets through although they cannot know anything.

    Trains canaries, made-up tickers of which is known what must come out, and then models of the stored bars whose
    futures were exchanged, all with this configuration's settings. Writes nothing to the database. Exit status 1 when
    the checks do not see in the canaries what they should.
    """
    from ldtm_cli.placebo import calibrate, print_calibration
    from ldtm_lib.sessions import exchange_calendar

    with told():
        project = _ready_project()
        found = calibrate(
            project,
            exchange_calendar(),
            [name.strip() for name in tickers.split(",") if name.strip()] if tickers is not None else None,
            num_copies=copies,
            seed=seed,
            device=device,
            last_bars=last_bars,
            console=errors if as_json else console,
        )
        if as_json:
            print_json(found.as_dict())
        else:
            print_calibration(console, found, project.settings.gate.min_direction_accuracy)
        if not found.canaries.checks_see:
            raise typer.Exit(EXIT_FAILED)


@audit_app.command("verify")
def audit_verify(as_json: AsJson = False) -> None:
    """Recompute the whole chain from the tables and compare it with all that was published.

    Exit status 1 when anything differs; the first row that is altered, missing, added or reordered is named.
    """
    from ldtm_cli.audit_view import print_report, report_as_dict, verify_now

    with told():
        report = verify_now(_ready_project())
        print_json(report_as_dict(report)) if as_json else print_report(console, report)
        if not report.is_intact:
            raise typer.Exit(EXIT_FAILED)


@audit_app.command("prove")
def audit_prove(
    ticker: Annotated[str, typer.Argument(help="Ticker of the forecast.")],
    run_date: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="Its run date.")],
    out: Annotated[Path | None, typer.Option(help="File to write; TICKER_DATE.proof.json when absent.")] = None,
) -> None:
    """Write a proof that a forecast and what became of it are in the record; verify_proof.py checks it anywhere."""
    from ldtm_cli.audit_view import print_proof, prove_now

    with told():
        print_proof(console, *prove_now(_ready_project(), ticker, run_date.date(), out))


@audit_app.command("seal")
def audit_seal() -> None:
    """Seal what happened since the last seal and publish every seal that is not published yet. Evenings do it, too."""
    from ldtm_cli.audit_view import print_closing, seal_now

    with told():
        closing = seal_now(_ready_project())
        print_closing(console, closing)
        if closing.failures:
            raise typer.Exit(EXIT_FAILED)


@prices_app.command("import")
def prices_import(
    folder: Annotated[Path, typer.Argument(help="A folder of CSV or Parquet files, named after their tickers.")],
    basis: Annotated[
        Basis, typer.Option(help="`adjusted`: splits are taken out of the prices already. `raw`: they are not.")
    ],
    as_json: AsJson = False,
) -> None:
    """Import bars from files into the store: new bars, restated ones as new vintages, nothing for equal ones.

    A file that cannot be read is reported with its line and the remedy; the others are imported. Exit status 1 when
    any failed, or when no ticker had a bar.
    """
    from ldtm_cli.import_view import import_files, print_import

    with told():
        report = import_files(_ready_project(), folder, basis.value)
        print_json(report.as_dict()) if as_json else print_import(console, report)
        if not report.is_complete:
            raise typer.Exit(EXIT_FAILED)


@alerts_app.command("test")
def alerts_test(as_json: AsJson = False) -> None:
    """Send a test notification through every channel of LDTM_ALERT_URLS, and report which ones accepted it."""
    from ldtm_cli.alerts_view import print_trials, try_channels

    with told():
        trials = try_channels(os.environ)
        print_json([asdict(trial) for trial in trials]) if as_json else print_trials(console, trials)
        if any(trial.failure for trial in trials):
            raise typer.Exit(EXIT_FAILED)


@db_app.command("url")
def db_url(
    export: Annotated[
        bool, typer.Option("--export", help="Print shell exports of all that a Dagster process of your own needs.")
    ] = False,
) -> None:
    """Print the database's URL; the embedded server is started when it does not run."""
    import shlex

    from ldtm_cli.services import dagster_environment, prepare

    with told():
        project, _ = prepare(_config())
        if export:
            for name, value in dagster_environment(project).items():
                print(f"export {name}={shlex.quote(value)}")
        else:
            print(project.database.url)


@db_app.command("migrate")
def db_migrate() -> None:
    """Apply the schema files that the database lacks. `ldtm up` and `ldtm demo` do it as well."""
    from ldtm_cli.services import prepare

    with told():
        _, applied = prepare(_config())
        console.print(f"applied {', '.join(applied)}" if applied else "the schema is up to date")


@db_app.command("grant")
def db_grant(role: Annotated[str, typer.Argument(help="A role of the PostgreSQL server that exists already.")]) -> None:
    """Let a role add to the record and nothing else: no change, no deletion, no switching off of rules.

    Connect as the owner of the tables for this and for `db migrate`; run LDTM with LDTM_DATABASE_URL naming the role.
    """
    from ldtm_lib.database.writer import allow_to_write

    with told():
        project = _ready_project()
        with project.database.transaction() as conn:
            allow_to_write(conn, role, dagster_schema=project.settings.database.dagster_schema)
        console.print(
            f"{role} may add to schema {project.settings.database.ldtm_schema}; `ldtm doctor` run as it confirms"
        )


def print_json(value: object) -> None:
    """Print a value as JSON; dates and moments in ISO 8601."""

    def plain(item: object) -> str:
        return item.isoformat() if isinstance(item, (date, datetime)) else str(item)

    print(json.dumps(value, indent=2, default=plain))


@contextmanager
def told() -> Iterator[None]:
    """Turn the project's errors into one message and an exit status; anything else is a bug and shows its trace."""
    try:
        yield
    except ConfigurationError as error:
        errors.print(f"[red]error:[/] {_escaped(error)}", soft_wrap=True)
        raise typer.Exit(EXIT_USAGE) from None
    except LdtmError as error:
        errors.print(f"[red]error:[/] {_escaped(error)}", soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None


def _escaped(error: LdtmError) -> str:
    return str(error).replace("[", r"\[")


def _config() -> Path:
    """The configuration file of this call. Imported late: pydantic and psycopg would double the time of `--help`."""
    from ldtm_lib.project import config_path

    return config_path(os.environ)


def _ready_project() -> "Project":
    """The project, with its schema applied; raises ConfigurationError otherwise."""
    from ldtm_lib.database.migrate import pending_migrations
    from ldtm_lib.project import open_project

    project = open_project(_config(), os.environ)
    if pending := pending_migrations(project.database):
        raise ConfigurationError(
            f"schema {project.database.schema} of {project.settings.path.name} lacks {', '.join(pending)}; "
            "apply them with `ldtm db migrate`, or name another configuration with --config"
        )
    return project


def _show_leaderboard(project: "Project", *, simulated: bool, as_json: bool) -> None:
    from ldtm_cli.leaderboard_view import leaderboard_as_dict, print_leaderboard, read

    board = read(project, simulated)
    print_json(leaderboard_as_dict(board)) if as_json else print_leaderboard(console, board, simulated=simulated)


def _show_shadows(project: "Project", *, simulated: bool, as_json: bool) -> None:
    from ldtm_cli.leaderboard_view import print_shadows, read_shadows, shadows_as_dicts

    records = read_shadows(project, simulated)
    print_json(shadows_as_dicts(records)) if as_json else print_shadows(console, records, simulated=simulated)


if __name__ == "__main__":
    app()
