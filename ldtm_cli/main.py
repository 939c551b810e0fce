"""The command `ldtm`: its global options, its commands, and the exit status of an error."""

import copy
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ldtm_cli.commands import (
    alerts,
    audit,
    backup,
    bootstrap,
    dashboard,
    db,
    demo,
    doctor,
    export,
    fillback,
    forecasts,
    init,
    leaderboard,
    logs,
    placebo,
    prices,
    registry,
    replay,
    retention,
    run,
    serve,
    settings,
    status,
    train,
    up,
)
from ldtm_cli.interrupts import BY_COMMAND, exit_status, handled_signals
from ldtm_cli.invocation import EXIT_FAILED, EXIT_USAGE, console, current_config, errors
from ldtm_lib.errors import ConfigurationError, LdtmError
from ldtm_lib.installation import installed_version


class RootGroup(TyperGroup):
    """The command `ldtm`: adds its global options to every command, and turns errors into exit statuses.

    An LdtmError or an interrupt is shown as one message. Any other exception is a bug and shows its traceback, except
    one that a full disk caused: that is shown as a message with the remedy.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for option in self.params:
            self._offer_everywhere(self, option)
        self._join_lines_of_help(self)

    def main(self, *arguments: Any, **named: Any) -> Any:
        """Run a command line."""
        with handled_signals():
            return super().main(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:  # the context is of click or of typer's copy of it, by version
        """Run the sub-command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except ConfigurationError as error:
            _print_error(error)
            raise typer.Exit(EXIT_USAGE) from None
        except Exception as error:
            shown = _disk_full(error) or error
            if not isinstance(shown, LdtmError):
                raise
            _print_error(shown)
            raise typer.Exit(EXIT_FAILED) from None
        except KeyboardInterrupt as interrupt:
            name = str(ctx.invoked_subcommand)
            errors.print(f"\n[yellow]`ldtm {name}` was interrupted.[/] {BY_COMMAND[name]}", soft_wrap=True)
            raise typer.Exit(exit_status(interrupt)) from None

    def _offer_everywhere(self, group: TyperGroup, option: Any) -> None:
        """Add a global option to every command below a group, so that it may also follow the command."""
        for command in group.commands.values():
            own = copy.copy(option)
            own.expose_value = False
            own.rich_help_panel = "Global options"
            command.params.append(own)
            if isinstance(command, TyperGroup):
                self._offer_everywhere(command, option)

    def _join_lines_of_help(self, group: TyperGroup) -> None:
        """Join the lines of each paragraph of every help text, so that paragraphs are wrapped at the console's width.

        Typer keeps the line breaks of all paragraphs after the first.
        """
        for command in group.commands.values():
            paragraphs = (command.help or "").split("\n\n")
            command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
            if isinstance(command, TyperGroup):
                self._join_lines_of_help(command)


def _print_error(error: LdtmError) -> None:
    message = str(error).replace("[", r"\[")
    errors.print(f"[red]error:[/] {message}", soft_wrap=True)


def _disk_full(error: Exception) -> LdtmError | None:
    from ldtm_cli.disk_full import disk_full
    from ldtm_lib.project import STATE_FOLDER

    return disk_full(error, current_config().absolute().parent / STATE_FOLDER)


app = typer.Typer(
    cls=RootGroup,
    help="Forecasts of daily stock prices, one LSTM per ticker, and the record that holds them to account.\n\n"
    "Exit status: 0 when all went well, 1 when something failed, 2 when the command or the configuration is wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def print_version(asked: bool) -> None:
    """Print the version and exit, when asked to."""
    if asked:
        console.print(f"ldtm {installed_version()}", highlight=False)
        raise typer.Exit


def use_config(context: typer.Context, config: Path | None) -> Path | None:
    """Use a configuration for this call; raises ConfigurationError if two different ones are given."""
    if config is not None:
        from ldtm_lib.project import CONFIG_VARIABLE

        config = config.resolve()
        outermost = context.find_root()
        if outermost.obj is not None and outermost.obj != config:
            raise ConfigurationError(f"--config names both {outermost.obj} and {config}; give one of them")
        context.obj = outermost.obj = config
        os.environ[CONFIG_VARIABLE] = str(config)
    return config


@app.callback()
def root(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            callback=use_config,
            help="Configuration file. Default: $LDTM_CONFIG, else ./universe.toml, or ./demo.toml if only the demo is "
            "set up.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Read the global options; their callbacks apply them."""
    del config, version


for command in (
    demo.demo,
    bootstrap.bootstrap,
    init.init,
    up.up,
    up.down,
    dashboard.dashboard,
    serve.serve,
    train.train,
    run.run,
    logs.logs,
    doctor.doctor,
    settings.settings,
    status.status,
    forecasts.forecasts,
    export.forecast,
    leaderboard.leaderboard,
    retention.retention,
    fillback.fillback,
    replay.replay,
    placebo.placebo,
    backup.backup,
    backup.restore,
):
    app.command()(command)
for group in (registry, prices, audit, alerts, db):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2], no_args_is_help=True)
app.add_typer(export.app, name="export")  # without a sub-command it exports all models


if __name__ == "__main__":
    app()
