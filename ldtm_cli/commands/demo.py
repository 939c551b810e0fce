"""`ldtm demo`: the whole loop on the bundled real bars, through the same code that a bootstrap runs."""

from pathlib import Path

import typer

from ldtm_cli.commands.bootstrap import bring_up_to_date
from ldtm_cli.invocation import AsJson, console
from ldtm_lib.atomic_io import write_whole
from ldtm_lib.bootstrap.request import BootstrapRequest
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.installation import FILES, ldtm_command

REQUEST = BootstrapRequest(num_sessions=30, retrain_every=30)
"""The last sessions of the sample, forecast by models of one training: the demo is over in a minute or two."""
EPILOGUE = """
[bold]What this shows.[/] Real figures of small networks on 30 simulated sessions.
No model made a forecast for a session that its training had seen. Models that
the gate refused forecast as [italic]candidate[/], so that there are rows to show: that
is a setting of demo.toml. Simulated rows never count as live ones.

[bold]Next[/]  {ldtm} -c demo.toml forecasts       what was forecast
      {ldtm} -c demo.toml registry list   models and verdicts
      {ldtm} -c demo.toml audit verify    check the record
      {ldtm} -c demo.toml up              Dagster on port 3000
      {ldtm} -c demo.toml down            stop all of it
      rm -rf .ldtm/ldtm_demo   remove the demo
"""


def demo(context: typer.Context, as_json: AsJson = False) -> None:
    """Run the whole loop on bundled real bars: prices, backtests, gate, forecasts, actuals, leaderboard.

    Everything goes through the same Dagster job as `ldtm bootstrap`, on the CPU, with an embedded PostgreSQL when
    LDTM_DATABASE_URL names no server. A second call does only what is not up to date. The configuration is demo.toml of
    the working folder, which is written when there is none; the state is in .ldtm beside it.
    """
    config = context.obj or demo_config(Path.cwd())
    require_sample(config)
    bring_up_to_date(config, REQUEST, as_json=as_json)
    if not as_json:
        console.print(EPILOGUE.format(ldtm=ldtm_command()))


def demo_config(folder: Path) -> Path:
    """The demo's configuration in a folder; a copy of the bundled one is written where there is none."""
    config = folder / "demo.toml"
    if not config.exists():
        write_whole(config, (FILES / "demo.toml").read_bytes())
    return config


def require_sample(config: Path) -> None:
    """Refuse any configuration but one of the sample: forecasts of 2013 could never be removed from a real ledger."""
    from ldtm_lib.settings import load_settings

    source = load_settings(config).source
    if source.kind != "sample":
        raise ConfigurationError(
            f"{config} has the source {source.kind!r}; the demo writes forecasts of 2013, which no ledger forgets. "
            "Run it with demo.toml"
        )
