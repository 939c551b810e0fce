"""`ldtm demo`: a bootstrap on the bundled real bars, with the same code as `ldtm bootstrap`."""

from pathlib import Path

import typer
from rich.console import Console

from ldtm_cli.commands.bootstrap import bring_up_to_date
from ldtm_cli.invocation import DEMO_CONFIG, AsJson, console
from ldtm_lib.atomic_io import write_whole
from ldtm_lib.bootstrap.request import BootstrapRequest
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.installation import FILES, ldtm_command

REQUEST = BootstrapRequest(num_sessions=30, retrain_every=30)
"""The last 30 sessions of the sample, forecast by models of a single training to keep the demo short."""
EPILOGUE = """
[bold]About these results.[/] Small networks on real bars, 30 simulated sessions.
Every session was forecast by a model that was trained on earlier bars only.
A setting of demo.toml lets [italic]candidates[/] forecast although the gate refused them,
so that there are rows to show.
Simulated rows never count as live.

[bold]Next[/]
  recorded forecasts            {ldtm} -c demo.toml forecasts
  models and verdicts           {ldtm} -c demo.toml registry list
  verify the record             {ldtm} -c demo.toml audit verify
  start Dagster (port 3000)     {ldtm} -c demo.toml up
  stop Dagster and PostgreSQL   {ldtm} -c demo.toml down

Remove the demo with `rm -rf .ldtm/ldtm_demo`.
"""


def demo(context: typer.Context, as_json: AsJson = False) -> None:
    """Run all stages on bundled real bars: prices, backtests, gate, forecasts, actuals, leaderboard.

    Uses the same Dagster job as `ldtm bootstrap`, on the CPU, with an embedded PostgreSQL unless LDTM_DATABASE_URL
    names a server. A second call does only what is not up to date. The configuration is demo.toml in the working
    folder, which is created if missing; the state is in .ldtm beside it.
    """
    config = context.obj or demo_config(Path.cwd())
    require_sample(config)
    bring_up_to_date(config, REQUEST, as_json=as_json)
    if not as_json:
        print_epilogue(console)


def print_epilogue(console: Console) -> None:
    """Print what the results are worth, and the next commands."""
    console.print(EPILOGUE.format(ldtm=ldtm_command()), soft_wrap=True)


def demo_config(folder: Path) -> Path:
    """The demo's configuration in a folder; copies the bundled file there if it is missing."""
    config = folder / DEMO_CONFIG
    if not config.exists():
        write_whole(config, (FILES / "demo.toml").read_bytes())
    return config


def require_sample(config: Path) -> None:
    """Refuse any source but the sample, since forecasts of 2013 could never be removed from a real ledger."""
    from ldtm_lib.settings import load_settings

    source = load_settings(config).source
    if source.kind != "sample":
        raise ConfigurationError(
            f"{config} has the source {source.kind!r}; the demo writes forecasts of 2013, which can never be removed. "
            "Run it with demo.toml"
        )
